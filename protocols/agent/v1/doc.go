// Package agentv1 is the service that the guest's agent offers to the shim, as
// ttrpc over the control stream.
package agentv1

// Protocol is the version of this protocol. The shim refuses an agent that
// answers Hello with another one.
const Protocol = 1

// Bounds that both sides keep.
const (
	// MaxIDLength is the longest container or exec id, in bytes. containerd
	// allows 76 (pkg/identifiers).
	MaxIDLength = 76
	// MaxPolicySize is the largest policy document, in bytes.
	MaxPolicySize = 1 << 20
)

//go:generate protoc --proto_path=../../.. --go_out=../../.. --go_opt=paths=source_relative --go-ttrpc_out=../../.. --go-ttrpc_opt=paths=source_relative protocols/agent/v1/agent.proto
