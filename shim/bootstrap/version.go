package bootstrap

import "runtime/debug"

// Version is the module's version as the toolchain recorded it, "devel" for a
// build from a checkout without one.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
