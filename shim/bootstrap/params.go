package bootstrap

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	runtimeoptions "github.com/containerd/containerd/api/types/runtimeoptions/v1"
	"github.com/containerd/containerd/v2/defaults"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxParams bounds what start reads from its standard input, in bytes.
const maxParams = 10 << 20

// Params is what containerd tells a shim, by whichever way it came: flags and
// environment (1.6 and later), runtime options on standard input (1.6 to 2.2),
// or one BootstrapParams message on standard input (2.3 and later).
type Params struct {
	// Action is "start", "delete" or empty.
	Action string
	// ID is the container or sandbox, Namespace containerd's namespace.
	ID, Namespace string
	// Address is containerd's gRPC socket. It is part of the name of ours.
	Address string
	// TTRPCAddress is where events go.
	TTRPCAddress string
	// Bundle is the bundle's path; Delete alone is told, the others run in it.
	Bundle string
	// SocketDir is the directory of the shims' sockets.
	SocketDir string
	// Debug asks for debug messages in the log.
	Debug bool
	// Version is the newest shim protocol that the daemon accepts: 2 or 3.
	Version int
	// Options are the runtime options, nil where there are none.
	Options *anypb.Any

	version, info bool
	// binary says that the daemon sent a BootstrapParams message and so wants
	// a BootstrapResult.
	binary bool
}

// parseFlags reads the command line and the environment.
func parseFlags(args []string, getenv func(string) string) (*Params, error) {
	p := &Params{TTRPCAddress: getenv("TTRPC_ADDRESS"), Version: 2, SocketDir: filepath.Join(defaults.DefaultStateDir, "s")}
	fs := flag.NewFlagSet(filepath.Base(os.Args[0]), flag.ContinueOnError)
	fs.BoolVar(&p.Debug, "debug", false, "log debug messages")
	fs.BoolVar(&p.version, "v", false, "print the version")
	fs.BoolVar(&p.version, "version", false, "print the version")
	fs.BoolVar(&p.info, "info", false, "print what this runtime is, as a protobuf")
	fs.StringVar(&p.Namespace, "namespace", "", "containerd's namespace")
	fs.StringVar(&p.ID, "id", "", "container or sandbox")
	fs.StringVar(&p.Bundle, "bundle", "", "path of the bundle, where it is not the working directory")
	fs.StringVar(&p.Address, "address", "", "containerd's gRPC socket")
	fs.String("publish-binary", "", "ignored; events go to TTRPC_ADDRESS")
	fs.String("socket", "", "ignored; the socket is inherited")
	fs.String("debug-socket", "", "ignored")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	p.Action = fs.Arg(0)
	if v, err := strconv.Atoi(getenv("MAX_SHIM_VERSION")); err == nil && v >= 3 {
		p.Version = 3
	}
	if p.version || p.info {
		return p, nil
	}
	if p.Namespace == "" || p.ID == "" {
		return nil, errors.New("-namespace and -id are required: this program is started by containerd, not by hand")
	}
	return p, nil
}

// readInput takes what standard input holds: a BootstrapParams message where
// its identity is that of the command line, otherwise runtime options.
//
// The identity decides because options can decode as a BootstrapParams by
// accident (containerd, pkg/shim/compat.go).
func (p *Params) readInput(r io.Reader) error {
	input, err := io.ReadAll(io.LimitReader(r, maxParams+1))
	if err != nil {
		return fmt.Errorf("read parameters from standard input: %w", err)
	}
	if len(input) > maxParams {
		return fmt.Errorf("parameters on standard input are larger than %d bytes", maxParams)
	}
	if len(input) == 0 {
		return nil
	}
	var params bootapi.BootstrapParams
	if err := proto.Unmarshal(input, &params); err == nil && params.InstanceID == p.ID && params.Namespace == p.Namespace {
		p.takeMessage(&params)
		return nil
	}
	var options anypb.Any
	if err := proto.Unmarshal(input, &options); err != nil {
		return fmt.Errorf("standard input holds neither bootstrap parameters for %s/%s nor runtime options: %w", p.Namespace, p.ID, err)
	}
	if options.TypeUrl != "" {
		p.Options = &options
	}
	return nil
}

func (p *Params) takeMessage(m *bootapi.BootstrapParams) {
	p.binary, p.Version = true, 3
	p.Debug = p.Debug || m.LogLevel <= bootapi.LogLevel_LOG_LEVEL_DEBUG
	if m.ContainerdTtrpcAddress != "" {
		p.TTRPCAddress = m.ContainerdTtrpcAddress
	}
	if m.ContainerdGrpcAddress != "" {
		p.Address = m.ContainerdGrpcAddress
	}
	if m.GetSocketDir() != "" {
		p.SocketDir = m.GetSocketDir()
	}
	var options runtimeoptions.Options
	for _, ext := range m.Extensions {
		if v := ext.GetValue(); v.MessageIs(&options) {
			p.Options = v
		}
	}
}

// answer encodes what start prints. Before 2.0 a plain address is what every
// daemon reads; 2.0 to 2.2 take JSON with the version; later ones the message.
func (p *Params) answer(address string) ([]byte, error) {
	result := &bootapi.BootstrapResult{Version: int32(p.Version), Address: address, Protocol: "ttrpc"}
	switch {
	case p.binary:
		return proto.Marshal(result)
	case p.Version >= 3:
		var out bytes.Buffer
		err := json.NewEncoder(&out).Encode(struct {
			Version  int    `json:"version"`
			Address  string `json:"address"`
			Protocol string `json:"protocol"`
		}{p.Version, address, "ttrpc"})
		return out.Bytes(), err
	default:
		return []byte(address), nil
	}
}
