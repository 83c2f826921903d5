package bootstrap

import (
	"bytes"
	"strings"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

func environment(kv ...string) func(string) string {
	return func(k string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == k {
				return kv[i+1]
			}
		}
		return ""
	}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func anyOf(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var flags = []string{"-namespace", "k8s.io", "-id", "pod", "-address", "/run/c.sock", "-publish-binary", "containerd", "start"}

// Every daemon has its way of asking, and reads its way of answering.
func TestStartProtocols(t *testing.T) {
	options := anyOf(t, &runtimeoptions.Options{ConfigPath: "/etc/sealpod/other.toml"})
	message := &bootapi.BootstrapParams{
		InstanceID: "pod", Namespace: "k8s.io", LogLevel: bootapi.LogLevel_LOG_LEVEL_DEBUG,
		ContainerdTtrpcAddress: "/run/new.ttrpc", ContainerdGrpcAddress: "/run/new.sock",
		SocketDir:  proto.String("/run/x"),
		Extensions: []*bootapi.Extension{{Value: anyOf(t, &bootapi.BootstrapResult{})}, {Value: options}},
	}
	for _, tc := range []struct {
		name    string
		env     []string
		input   []byte
		options bool
		binary  bool
		answer  string
	}{
		{name: "1.6 and 1.7", answer: "unix:///s"},
		{name: "1.7 with options", input: encode(t, options), options: true, answer: "unix:///s"},
		{name: "2.2", env: []string{"MAX_SHIM_VERSION", "3"}, input: encode(t, options), options: true, answer: `{"version":3,"address":"unix:///s","protocol":"ttrpc"}` + "\n"},
		{name: "2.4", env: []string{"MAX_SHIM_VERSION", "3"}, input: encode(t, message), options: true, binary: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := parseFlags(flags, environment(append(tc.env, "TTRPC_ADDRESS", "/run/old.ttrpc")...))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.readInput(bytes.NewReader(tc.input)); err != nil {
				t.Fatal(err)
			}
			if p.Action != "start" || p.ID != "pod" || p.Namespace != "k8s.io" {
				t.Errorf("parsed as %+v", p)
			}
			if (p.Options != nil) != tc.options || tc.options && !p.Options.MessageIs(&runtimeoptions.Options{}) {
				t.Errorf("options are %v", p.Options)
			}
			answer, err := p.answer("unix:///s")
			if err != nil {
				t.Fatal(err)
			}
			if !tc.binary {
				if string(answer) != tc.answer {
					t.Errorf("answer is %q, want %q", answer, tc.answer)
				}
				return
			}
			if p.TTRPCAddress != "/run/new.ttrpc" || p.Address != "/run/new.sock" || p.SocketDir != "/run/x" || !p.Debug {
				t.Errorf("the message's fields are not taken: %+v", p)
			}
			var result bootapi.BootstrapResult
			if err := proto.Unmarshal(answer, &result); err != nil || result.Version != 3 || result.Address != "unix:///s" || result.Protocol != "ttrpc" {
				t.Errorf("answer is %v, %v", &result, err)
			}
		})
	}
}

// A message for another container is not ours, however well it decodes.
func TestForeignIdentity(t *testing.T) {
	p, err := parseFlags(flags, environment())
	if err != nil {
		t.Fatal(err)
	}
	err = p.readInput(bytes.NewReader(encode(t, &bootapi.BootstrapParams{InstanceID: "other", Namespace: "k8s.io", ContainerdTtrpcAddress: "/run/evil"})))
	if err == nil && (p.binary || p.TTRPCAddress == "/run/evil") {
		t.Fatalf("taken: %+v", p)
	}
}

func TestRefusedInput(t *testing.T) {
	for name, in := range map[string]string{
		"not a protobuf": "\xff\xff\xff",
		"too large":      strings.Repeat("x", maxParams+1),
	} {
		p, err := parseFlags(flags, environment())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.readInput(strings.NewReader(in)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, args := range map[string][]string{
		"no namespace": {"-id", "x", "start"},
		"no id":        {"-namespace", "x", "start"},
		"unknown flag": {"-namespace", "x", "-id", "x", "-hypervisor", "rm"},
	} {
		if p, err := parseFlags(args, environment()); err == nil {
			t.Errorf("%s: accepted as %+v", name, p)
		}
	}
}

func FuzzReadInput(f *testing.F) {
	f.Add([]byte{})
	f.Add(encode(f, anyOf(f, &runtimeoptions.Options{ConfigPath: "/x"})))
	f.Add(encode(f, &bootapi.BootstrapParams{InstanceID: "pod", Namespace: "k8s.io"}))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := parseFlags(flags, environment())
		if err != nil {
			t.Fatal(err)
		}
		if p.readInput(bytes.NewReader(in)) == nil && (p.ID != "pod" || p.Namespace != "k8s.io") {
			t.Fatalf("identity changed to %s/%s", p.Namespace, p.ID)
		}
	})
}
