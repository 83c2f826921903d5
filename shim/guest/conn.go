// Package guest is the shim's end of the wire: one connection to the agent of
// one VM, whatever carries it.
//
// The guest is hostile to the host. Everything that comes back is bounded
// (ttrpc's own limit is 4 MiB a message, yamux windows bound each stream) and
// checked by the caller before it is believed.
package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"github.com/hashicorp/yamux"

	agentv1 "github.com/sealpod/sealpod/protocols/agent/v1"
	"github.com/sealpod/sealpod/protocols/stream"
)

// Conn is a connection to the agent. Close ends it; so does the guest.
type Conn struct {
	session *yamux.Session
	client  *ttrpc.Client
	log     io.Closer
	// Agent makes calls. Their errors are errdefs classes.
	Agent agentv1.AgentService
}

// New speaks over a carrier, which it owns from here on. It does not wait for
// the guest: the first call does.
func New(ctx context.Context, carrier io.ReadWriteCloser) (*Conn, error) {
	w := log.G(ctx).WithField("component", "yamux").WriterLevel(log.DebugLevel)
	session, err := yamux.Server(stream.Carrier(carrier), stream.Config(w))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin the session with the guest: %w", err), carrier.Close(), w.Close())
	}
	c := &Conn{session: session, log: w}
	control, err := c.Open(stream.Header{Kind: stream.Control})
	if err != nil {
		return nil, errors.Join(err, session.Close(), w.Close())
	}
	c.client = ttrpc.NewClient(control, ttrpc.WithUnaryClientInterceptor(nativeErrors))
	c.Agent = agentv1.NewAgentClient(c.client)
	return c, nil
}

// nativeErrors turns gRPC status codes into errdefs classes, once, here.
func nativeErrors(ctx context.Context, req *ttrpc.Request, resp *ttrpc.Response, info *ttrpc.UnaryClientInfo, invoke ttrpc.Invoker) error {
	err := invoke(ctx, req, resp)
	if errors.Is(err, ttrpc.ErrClosed) {
		return fmt.Errorf("the guest's agent is gone: %w", errdefs.ErrUnavailable)
	}
	return errgrpc.ToNative(err)
}

// Open begins a stream towards the guest. Its Close is a half close: the other
// side reads to the end of what was written.
func (c *Conn) Open(h stream.Header) (net.Conn, error) {
	s, err := c.session.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("open %s stream: %w", h.Kind, err)
	}
	if err := stream.WriteHeader(s, h); err != nil {
		return nil, errors.Join(fmt.Errorf("begin %s stream: %w", h.Kind, err), s.Close())
	}
	return s, nil
}

// Done is closed when the connection is.
func (c *Conn) Done() <-chan struct{} { return c.session.CloseChan() }

// Close ends the connection and every stream on it.
func (c *Conn) Close() error {
	return errors.Join(c.client.Close(), c.session.Close(), c.log.Close())
}
