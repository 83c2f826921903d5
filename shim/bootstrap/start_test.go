package bootstrap

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestGroup(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"no annotations": {`{"ociVersion":"1.2.0"}`, "self"},
		"kubernetes":     {`{"annotations":{"io.kubernetes.cri.sandbox-id":"sandbox"}}`, "sandbox"},
		"group wins":     {`{"annotations":{"io.kubernetes.cri.sandbox-id":"sandbox","io.containerd.runc.v2.group":"g"}}`, "g"},
		"path":           {`{"annotations":{"io.containerd.runc.v2.group":"../../x"}}`, ""},
		"not JSON":       {`{`, ""},
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(tc.config), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := groupOf(file, "self")
		if got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tc.want)
		}
	}
	if got, err := groupOf(filepath.Join(t.TempDir(), "config.json"), "sandbox"); got != "sandbox" || err != nil {
		t.Errorf("a sandbox, which has no specification: %q, %v", got, err)
	}
}

func TestExitRecord(t *testing.T) {
	bundle := t.TempDir()
	if _, err := ReadExit(bundle); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("empty bundle: %v", err)
	}
	now := time.Now().UTC()
	if e, err := exitOrKilled(bundle, now); err != nil || e.Status != 137 || !e.At.Equal(now) {
		t.Fatalf("without a record: %+v, %v", e, err)
	}
	want := Exit{Pid: 7, Status: 3, At: now.Add(-time.Hour)}
	if err := RecordExit(bundle, want); err != nil {
		t.Fatal(err)
	}
	if e, err := exitOrKilled(bundle, now); err != nil || e.Pid != 7 || e.Status != 3 || !e.At.Equal(want.At) {
		t.Fatalf("with a record: %+v, %v", e, err)
	}
	if err := os.WriteFile(filepath.Join(bundle, exitFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := exitOrKilled(bundle, now); err == nil {
		t.Fatalf("a broken record is believed: %+v", e)
	}
}
