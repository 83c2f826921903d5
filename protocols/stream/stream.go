// Package stream says how the two ends of the wire share one carrier.
//
// Whatever carries the bytes (vhost-vsock, vhost-user vsock, a virtio-serial
// port), one yamux session runs over it: the shim is its server, for it
// listens, and the agent its client, for it dials. Only the shim opens
// streams. The first bytes of each are a [Header]: a length of two bytes, big
// endian, and that many bytes of JSON. After the header
//
//   - the control stream carries ttrpc, with the agent serving;
//   - stdin carries bytes towards the guest, stdout and stderr towards the
//     host, until the sender closes its half: end of file travels in band;
//   - files carries one tar archive towards the guest.
//
// A stream may arrive before the call that needs it and usually does; the
// agent keeps it until the call comes, within bounds.
package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// Kind says what a stream carries.
type Kind string

// The kinds of streams.
const (
	Control Kind = "control"
	Stdin   Kind = "stdin"
	Stdout  Kind = "stdout"
	Stderr  Kind = "stderr"
	Files   Kind = "files"
)

const (
	// VsockPort is the port of the host (CID 2) that the agent dials.
	VsockPort = 1024
	// SerialPort is the name of the virtio-serial port, as the guest sees it in
	// /sys/class/virtio-ports/*/name.
	SerialPort = "io.sealpod.wire"
	// MaxHeader bounds the encoded header, in bytes.
	MaxHeader = 512
	// MaxWrite bounds a single write to a carrier, in bytes. vhost-user vsock
	// daemons drop packets of more than 32 KiB that a recent guest kernel
	// sends as several descriptors.
	MaxWrite = 32 << 10
)

// Header is what a stream begins with.
type Header struct {
	Kind Kind `json:"kind"`
	// ContainerID is empty for the control stream alone.
	ContainerID string `json:"container,omitempty"`
	// ExecID is empty for a container's init process.
	ExecID string `json:"exec,omitempty"`
	// Content names the archive of a files stream, as a mount refers to it.
	Content string `json:"content,omitempty"`
}

// Validate reports whether the header names something.
func (h Header) Validate() error {
	switch h.Kind {
	case Control:
		if h != (Header{Kind: Control}) {
			return fmt.Errorf("control stream names a container")
		}
		return nil
	case Stdin, Stdout, Stderr:
		if h.ContainerID == "" || h.Content != "" {
			return fmt.Errorf("%s stream wants a container and no content", h.Kind)
		}
		return nil
	case Files:
		if h.ContainerID == "" || h.Content == "" || h.ExecID != "" {
			return fmt.Errorf("files stream wants a container and a content name")
		}
		return nil
	}
	return fmt.Errorf("unknown kind of stream %q", h.Kind)
}

// WriteHeader begins a stream.
func WriteHeader(w io.Writer, h Header) error {
	if err := h.Validate(); err != nil {
		return err
	}
	body, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode stream header: %w", err)
	}
	if len(body) > MaxHeader {
		return fmt.Errorf("stream header of %d bytes, %d allowed", len(body), MaxHeader)
	}
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...)
	_, err = w.Write(frame)
	return err
}

// ReadHeader reads what a stream begins with and nothing behind it. Unknown
// fields and trailing data are errors. The caller sets a deadline.
func ReadHeader(r io.Reader) (Header, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return Header{}, fmt.Errorf("read stream header: %w", err)
	}
	n := binary.BigEndian.Uint16(length[:])
	if n == 0 || n > MaxHeader {
		return Header{}, fmt.Errorf("stream header of %d bytes, 1 to %d allowed", n, MaxHeader)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return Header{}, fmt.Errorf("read stream header: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var h Header
	if err := dec.Decode(&h); err != nil {
		return Header{}, fmt.Errorf("decode stream header: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Header{}, fmt.Errorf("decode stream header: data behind the header")
	}
	return h, h.Validate()
}

// Config is the yamux configuration of both ends. Keep-alives are off: the
// shim watches the machine itself. A half closed stream stays readable for as
// long as the other side needs.
func Config(log io.Writer) *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.StreamCloseTimeout = 0
	c.StreamOpenTimeout = 0
	c.ConnectionWriteTimeout = 60 * time.Second
	c.MaxStreamWindowSize = 1 << 20
	c.AcceptBacklog = 1024
	c.LogOutput = log
	return c
}

// Carrier makes a connection fit to carry a session: no write is larger than
// [MaxWrite].
func Carrier(rwc io.ReadWriteCloser) io.ReadWriteCloser { return carrier{rwc} }

type carrier struct{ io.ReadWriteCloser }

func (c carrier) Write(p []byte) (int, error) {
	var done int
	for done < len(p) {
		n, err := c.ReadWriteCloser.Write(p[done:min(len(p), done+MaxWrite)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
