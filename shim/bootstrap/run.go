package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/pkg/shim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Name is the runtime's name, as containerd's clients choose it.
const Name = "io.containerd.sealpod.v2"

// Env is what a server knows about itself.
type Env struct {
	// ID is the pod's: of the sandbox, or of the container that is a pod of its
	// own.
	ID, Namespace string
	// Bundle is the directory of whatever containerd started the shim for.
	Bundle string
	// Options are the runtime options, nil where there are none.
	Options *anypb.Any
	// Publisher delivers events to containerd. The server closes it.
	Publisher shim.Publisher
}

// Run is the shim's main function. It returns the exit status.
func Run(ctx context.Context, rt Runtime) int {
	if err := run(ctx, rt, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", rt.Name, err)
		return 1
	}
	return 0
}

func run(ctx context.Context, rt Runtime, args []string) error {
	p, err := parseFlags(args, os.Getenv)
	if err != nil {
		return err
	}
	switch {
	case p.version:
		_, err := fmt.Printf("%s\n  Version: %s\n  Go version: %s\n", rt.Name, rt.Version, runtime.Version())
		return err
	case p.info:
		return writeProto(os.Stdout, &types.RuntimeInfo{
			Name:    rt.Name,
			Version: &types.RuntimeVersion{Version: rt.Version},
		})
	}
	switch p.Action {
	case "start":
		if err := p.readInput(os.Stdin); err != nil {
			return err
		}
		address, err := start(ctx, p)
		if err != nil {
			return err
		}
		answer, err := p.answer(address)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(answer)
		return err
	case "delete":
		return cleanup(ctx, p, rt)
	case "":
		return serve(ctx, p, rt)
	}
	return fmt.Errorf("unknown action %q: containerd calls a shim with start, delete or none", p.Action)
}

// cleanup answers `delete`: containerd calls it when a shim has died, once for
// the pod and once for each container in it, with the bundle of that one as
// working directory.
func cleanup(ctx context.Context, p *Params, rt Runtime) error {
	bundle := p.Bundle
	if bundle == "" {
		wd, err := os.Getwd()
		if err != nil {
			return err
		}
		bundle = wd
	}
	group := p.ID
	if child, err := readChildParams(bundle); err == nil {
		group = child.Group
		if address, err := shim.ReadAddress(bundle + "/" + addressFile); err == nil && !shim.CanConnect(address) {
			_ = shim.RemoveSocket(address)
		}
		if err := rt.Cleanup(ctx, p.Namespace, group); err != nil {
			fmt.Fprintf(os.Stderr, "clean up after %s: %s\n", group, err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "clean up after %s: %s\n", p.ID, err)
	}
	exit, err := exitOrKilled(bundle, time.Now())
	if err != nil {
		return err
	}
	return writeProto(os.Stdout, &taskapi.DeleteResponse{
		Pid:        exit.Pid,
		ExitStatus: exit.Status,
		ExitedAt:   timestamppb.New(exit.At),
	})
}

func writeProto(w io.Writer, m proto.Message) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
