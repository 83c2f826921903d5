package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// exitFile is in the bundle of a container whose init process has ended. It is
// written before the exit is told to anybody, so that what Delete says after a
// shim's death is what happened.
const exitFile = "sealpod-exit.json"

// Exit is how a container's init process ended.
type Exit struct {
	Pid    uint32    `json:"pid"`
	Status uint32    `json:"status"`
	At     time.Time `json:"at"`
}

// RecordExit writes the record into a bundle, whole or not at all.
func RecordExit(bundle string, e Exit) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	tmp := filepath.Join(bundle, "."+exitFile)
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("record exit: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(bundle, exitFile)); err != nil {
		return fmt.Errorf("record exit: %w", err)
	}
	return nil
}

// ReadExit reads the record of a bundle; os.ErrNotExist where there is none.
func ReadExit(bundle string) (Exit, error) {
	data, err := os.ReadFile(filepath.Join(bundle, exitFile))
	if err != nil {
		return Exit{}, err
	}
	var e Exit
	if err := json.Unmarshal(data, &e); err != nil {
		return Exit{}, fmt.Errorf("decode exit record: %w", err)
	}
	return e, nil
}

// exitOrKilled is what Delete reports: the record, or a kill now.
func exitOrKilled(bundle string, now time.Time) (Exit, error) {
	e, err := ReadExit(bundle)
	if errors.Is(err, os.ErrNotExist) {
		// 128 and SIGKILL, as containerd's runc shim says of a container whose
		// shim has died.
		return Exit{Status: 137, At: now}, nil
	}
	return e, err
}
