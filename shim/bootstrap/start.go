package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Files that start leaves in the bundle, its working directory.
const (
	// addressFile holds the socket's address, by containerd's convention.
	addressFile = "address"
	// optionsFile holds the runtime options for the child, which is not given
	// them: they may name things that are nobody else's business.
	optionsFile = "sealpod-options.pb"
	// paramsFile holds where events go and how to log, for the child.
	paramsFile = "sealpod-params.json"
)

// groupAnnotations name the pod that a container belongs to, in the order in
// which containerd looks at them (containerd-shim-runc-v2/manager).
var groupAnnotations = []string{
	"io.containerd.runc.v2.group",
	"io.kubernetes.cri.sandbox-id",
}

// childParams is what start hands to its child besides the flags.
type childParams struct {
	TTRPCAddress string `json:"ttrpc_address"`
	SocketDir    string `json:"socket_dir"`
	Debug        bool   `json:"debug,omitempty"`
	Group        string `json:"group"`
}

// start makes sure that a shim serves the pod of this container and returns
// its address. It writes nothing to standard output or error but an error that
// ends it: containerd reads both as the answer.
func start(ctx context.Context, p *Params) (string, error) {
	group, err := groupOf("config.json", p.ID)
	if err != nil {
		return "", err
	}
	ctx = namespaces.WithNamespace(ctx, p.Namespace)
	address, err := shim.CreateSocketAddress(ctx, p.SocketDir, p.Address, group, false)
	if err != nil {
		return "", err
	}
	listener, err := shim.NewSocket(address)
	if shim.SocketEaddrinuse(err) {
		if shim.CanConnect(address) {
			return address, writeFile(addressFile, []byte(address))
		}
		// A shim that was killed left its socket behind.
		if err := shim.RemoveSocket(address); err != nil {
			return "", fmt.Errorf("remove stale socket %s: %w", address, err)
		}
		listener, err = shim.NewSocket(address)
	}
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", address, err)
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	if err := spawn(p, group, listener.File); err != nil {
		return "", errors.Join(err, shim.RemoveSocket(address))
	}
	return address, writeFile(addressFile, []byte(address))
}

// spawn starts the child that serves the socket.
func spawn(p *Params, group string, socket func() (*os.File, error)) error {
	if p.Options != nil {
		data, err := proto.Marshal(p.Options)
		if err != nil {
			return fmt.Errorf("encode runtime options: %w", err)
		}
		if err := writeFile(optionsFile, data); err != nil {
			return err
		}
	}
	data, err := json.Marshal(childParams{TTRPCAddress: p.TTRPCAddress, SocketDir: p.SocketDir, Debug: p.Debug, Group: group})
	if err != nil {
		return err
	}
	if err := writeFile(paramsFile, data); err != nil {
		return err
	}
	f, err := socket()
	if err != nil {
		return fmt.Errorf("duplicate the listening socket: %w", err)
	}
	defer f.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the shim's own binary: %w", err)
	}
	// The child's output goes nowhere until it has opened the bundle's log:
	// containerd waits for the end of ours.
	cmd := exec.Command(self, "-namespace", p.Namespace, "-id", p.ID, "-address", p.Address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the shim's server: %w", err)
	}
	// One above containerd's own score, so that the kernel takes the pod first.
	// Not being allowed to is no reason to run no pod.
	_ = shim.AdjustOOMScore(cmd.Process.Pid)
	return cmd.Process.Release()
}

// groupOf reads from the bundle's specification which pod the container
// belongs to: itself where no annotation says otherwise, or where there is no
// specification, as for a sandbox.
func groupOf(config, id string) (string, error) {
	f, err := os.Open(config)
	if errors.Is(err, os.ErrNotExist) {
		return id, nil
	}
	if err != nil {
		return "", fmt.Errorf("open the bundle's specification: %w", err)
	}
	defer f.Close()
	var spec struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.NewDecoder(f).Decode(&spec); err != nil {
		return "", fmt.Errorf("decode the bundle's %s: %w", filepath.Base(config), err)
	}
	for _, a := range groupAnnotations {
		if group := spec.Annotations[a]; group != "" {
			if strings.ContainsAny(group, "/\x00") {
				return "", fmt.Errorf("annotation %s: %q is not an identifier", a, group)
			}
			return group, nil
		}
	}
	return id, nil
}

// readOptions reads the runtime options that start left, nil where there are
// none.
func readOptions(bundle string) (*anypb.Any, error) {
	data, err := os.ReadFile(filepath.Join(bundle, optionsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read runtime options: %w", err)
	}
	var options anypb.Any
	if err := proto.Unmarshal(data, &options); err != nil {
		return nil, fmt.Errorf("decode runtime options: %w", err)
	}
	return &options, nil
}

func readChildParams(bundle string) (*childParams, error) {
	data, err := os.ReadFile(filepath.Join(bundle, paramsFile))
	if err != nil {
		return nil, fmt.Errorf("read the shim's parameters: %w", err)
	}
	var c childParams
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("decode the shim's parameters: %w", err)
	}
	return &c, nil
}

func writeFile(name string, data []byte) error {
	if err := os.WriteFile(name, data, 0o600); err != nil {
		return fmt.Errorf("write %s into the bundle: %w", name, err)
	}
	return nil
}
