package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/fifo"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

// stopTimeout bounds how long a shim that has been told to end takes to stop
// its machine and to deliver its last events.
const stopTimeout = 30 * time.Second

// Server is what the shim serves.
type Server interface {
	// Register adds the services.
	Register(*ttrpc.Server)
	// Done is closed when the pod is over and the shim may end.
	Done() <-chan struct{}
	// Close stops the machine, delivers what events are left and releases
	// everything. It is called once.
	Close(context.Context) error
}

// Runtime is what this frame is told about the shim that it frames.
type Runtime struct {
	// Name is the runtime's name, io.containerd.sealpod.v2.
	Name, Version string
	// New makes the server. Its context carries namespace and logger and ends
	// with the shim.
	New func(context.Context, Env) (Server, error)
	// Cleanup removes whatever a dead shim of this id has left behind. It is
	// idempotent.
	Cleanup func(ctx context.Context, namespace, id string) error
}

// serve is the life of the child.
func serve(ctx context.Context, p *Params, rt Runtime) error {
	bundle, err := os.Getwd()
	if err != nil {
		return err
	}
	child, err := readChildParams(bundle)
	if err != nil {
		return err
	}
	tune()
	ctx, stop := signal.NotifyContext(namespaces.WithNamespace(ctx, p.Namespace), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := openLog(ctx, p, child.Debug); err != nil {
		return err
	}
	stopDumps := dumpStacksOnSignal(ctx)
	defer stopDumps()

	env, err := newEnv(p, child, bundle)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "socket"))
	if err != nil {
		return fmt.Errorf("take over the inherited socket: %w", err)
	}
	defer os.Remove(listener.Addr().String())
	server, err := rt.New(ctx, env)
	if err != nil {
		return err
	}
	return serveUntilDone(ctx, server, listener)
}

// serveUntilDone answers calls until the pod is over, a signal arrives or the
// listener breaks.
func serveUntilDone(ctx context.Context, server Server, listener net.Listener) error {
	t, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
	if err != nil {
		return err
	}
	server.Register(t)
	broken := make(chan error, 1)
	go func() { broken <- t.Serve(context.WithoutCancel(ctx), listener) }()

	var served error
	select {
	case <-server.Done():
	case <-ctx.Done():
		log.G(ctx).Info("told to end by a signal")
	case served = <-broken:
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = server.Close(ctx)
	// Shutdown lets the call that ended the pod be answered first.
	if e := t.Shutdown(ctx); e != nil {
		err = errors.Join(err, t.Close())
	}
	if served == nil {
		<-broken
	} else if !errors.Is(served, ttrpc.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// tune keeps the shim small: there is one for every pod of a node.
func tune() {
	debug.SetGCPercent(40)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(runtime.NumCPU(), 4))
	}
}

// openLog makes the fifo that containerd reads the shim's log and its last
// words. SIGPIPE is taken, and not ignored, for that would be inherited: a
// daemon that restarts closes the fifo and must not end us.
func openLog(ctx context.Context, p *Params, debug bool) error {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	w, err := fifo.OpenFifoDup2(ctx, "log", unix.O_WRONLY, 0o700, int(os.Stderr.Fd()))
	if err != nil {
		return fmt.Errorf("open the shim's log: %w", err)
	}
	if debug || p.Debug {
		_ = log.SetLevel("debug")
	}
	_ = log.SetFormat(log.TextFormat)
	log.L.Logger.SetOutput(w)
	log.L = log.L.WithFields(log.Fields{"runtime": Name, "id": p.ID, "namespace": p.Namespace})
	return nil
}

// dumpStacksOnSignal logs every goroutine on SIGUSR1, as containerd's shims do.
func dumpStacksOnSignal(ctx context.Context) (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range c {
			buf := make([]byte, 1<<20)
			log.G(ctx).Infof("=== BEGIN goroutine stack dump ===\n%s\n=== END goroutine stack dump ===", buf[:runtime.Stack(buf, true)])
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
		<-done
	}
}

// newEnv gathers what the server needs to know about itself.
func newEnv(p *Params, child *childParams, bundle string) (Env, error) {
	options, err := readOptions(bundle)
	if err != nil {
		return Env{}, err
	}
	publisher, err := shim.NewPublisher(child.TTRPCAddress)
	if err != nil {
		return Env{}, fmt.Errorf("connect to containerd's events at %s: %w", child.TTRPCAddress, err)
	}
	return Env{ID: child.Group, Namespace: p.Namespace, Bundle: bundle, Options: options, Publisher: publisher}, nil
}
