package stream

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestHeaderRoundTrip(t *testing.T) {
	for _, h := range []Header{
		{Kind: Control},
		{Kind: Stdin, ContainerID: "c"},
		{Kind: Stderr, ContainerID: "c", ExecID: "e"},
		{Kind: Files, ContainerID: strings.Repeat("c", 76), Content: "hosts"},
	} {
		var buf bytes.Buffer
		if err := WriteHeader(&buf, h); err != nil {
			t.Fatalf("write %+v: %v", h, err)
		}
		buf.WriteString("payload")
		got, err := ReadHeader(&buf)
		if err != nil || got != h {
			t.Fatalf("read %+v: %+v, %v", h, got, err)
		}
		if rest, _ := io.ReadAll(&buf); string(rest) != "payload" {
			t.Fatalf("%+v: payload is %q", h, rest)
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	frame := func(body string) string { return string([]byte{byte(len(body) >> 8), byte(len(body))}) + body }
	for name, in := range map[string]string{
		"empty":         "",
		"no length":     "\x00\x00",
		"truncated":     "\x00\x10{}",
		"oversized":     "\xff\xff" + strings.Repeat("x", 65535),
		"unknown kind":  frame(`{"kind":"shell"}`),
		"unknown field": frame(`{"kind":"control","x":1}`),
		"trailing":      frame(`{"kind":"control"}{}`),
		"no container":  frame(`{"kind":"stdin"}`),
		"too much":      frame(`{"kind":"control","container":"c"}`),
		"no content":    frame(`{"kind":"files","container":"c"}`),
	} {
		if h, err := ReadHeader(strings.NewReader(in)); err == nil {
			t.Errorf("%s: accepted as %+v", name, h)
		}
	}
	for _, h := range []Header{{}, {Kind: Stdout}, {Kind: Files, ContainerID: strings.Repeat("c", MaxHeader), Content: "x"}} {
		if err := WriteHeader(io.Discard, h); err == nil {
			t.Errorf("%+v: written", h)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("\x00\x12{\"kind\":\"control\"}"))
	f.Add([]byte("\x00\x02{}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ReadHeader(bytes.NewReader(in))
		if err != nil {
			return
		}
		var buf bytes.Buffer
		if err := WriteHeader(&buf, h); err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", h, err)
		}
	})
}

type recorder struct{ sizes []int }

func (r *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (r *recorder) Write(p []byte) (int, error) { r.sizes = append(r.sizes, len(p)); return len(p), nil }
func (r *recorder) Close() error                { return nil }

func TestCarrierBoundsWrites(t *testing.T) {
	var r recorder
	n, err := Carrier(&r).Write(make([]byte, 2*MaxWrite+1))
	if n != 2*MaxWrite+1 || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if len(r.sizes) != 3 || r.sizes[0] != MaxWrite || r.sizes[2] != 1 {
		t.Fatalf("writes of %v", r.sizes)
	}
}
