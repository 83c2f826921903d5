// Package bootstrap is the frame of a shim's life: how containerd starts one,
// talks to it and has it cleaned up.
//
// containerd runs the shim's binary three ways (docs/runtime-v2.md):
//
//	start   with the bundle as working directory. Start listens on the socket
//	        of the pod, leaves a child of this very binary to serve it, and
//	        prints the address. A container of a pod whose shim already runs
//	        gets the address of that one.
//	(none)  the child: [Serve] answers the task and sandbox services on the
//	        inherited socket until the pod is over.
//	delete  after a shim has died. Delete removes what is left and prints how
//	        the container ended.
//
// The way the parameters arrive and the answer leaves has changed over the
// years. This package decides by what it is given, so one binary serves
// containerd 1.6 to 2.4: see [Params].
package bootstrap
