package sqlitestore

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/taskstore/taskstore"
)

// fewBytes is the free space below which Check reports a finding. It lasts a busy server
// some hours.
const fewBytes = 100 << 20

// Check looks for conditions under which the backend cannot keep its promises: a journal
// mode or a synchronous setting that loses writes, a network file system, little free
// space, permissions that let others read the file, and damage. A sound file has no
// findings. Check is meant for the start of a program; it reads the whole file, at the
// speed of the disk.
//
// Check also creates and deletes one record under an owner of its own, to notice a file
// that takes no writes. If the removal fails, the record expires within a minute.
//
// A file that cannot be read or written gives an error, not a Finding. The findings until
// then are returned with the error.
func (b *Backend) Check(ctx context.Context) (findings []taskstore.Finding, err error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	if err := b.file.same(); err != nil {
		return nil, err
	}
	add := func(setting, breaks, remedy string) {
		findings = append(findings, taskstore.Finding{Setting: setting, Breaks: breaks, Remedy: remedy})
	}
	b.checkDisk(add)
	var mode string
	if err := b.read.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return findings, b.failed(ctx, err)
	}
	if mode != "wal" {
		add("journal_mode is "+mode, "readers and writers wait for each other, and hints of other processes are late", "keep other programs from changing it; open the file again")
	}
	if b.opts.SynchronousNormal {
		add("synchronous is NORMAL, by Options.SynchronousNormal", "a loss of power undoes the latest acknowledged writes", "leave the option out, unless the loss is acceptable")
	}
	var verdict string
	if err := b.read.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return findings, b.failed(ctx, err)
	}
	if verdict != "ok" {
		// The verdict is left out because it could quote the file's contents.
		return append(findings, taskstore.Finding{Setting: "quick_check finds damage", Breaks: "records are lost or cannot be read",
			Remedy: "restore the file from a backup, or recover it with the sqlite3 shell", Unusable: true}), nil
	}
	return findings, b.tryWrites(ctx)
}

// checkDisk checks what the operating system reports about the file.
func (b *Backend) checkDisk(add func(setting, breaks, remedy string)) {
	if info, err := os.Stat(b.file.path); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		add(fmt.Sprintf("the file has mode %04o", info.Mode().Perm()), "other users of the host can read or write tasks", "chmod 600 the file and those beside it")
	}
	disk, err := diskOf(filepath.Dir(b.file.path))
	if err != nil {
		return // the system does not report it
	}
	if disk.network != "" {
		add("it is on a network file system, "+disk.network, "SQLite's locks and shared memory work on one host only: writes are lost, and the file is damaged", "move it to a local disk")
	}
	if disk.free < fewBytes {
		add(fmt.Sprintf("%d MB are free on its disk", disk.free>>20), "writes fail once the disk is full", "make room")
	}
}

// A disk describes a file system.
type disk struct {
	network string // the kind of network file system; empty for a local one
	free    uint64 // bytes
}

func (b *Backend) tryWrites(ctx context.Context) error {
	key := taskstore.Key{Owner: "taskstore-check-" + rand.Text(), Task: "check"}
	if _, err := b.PutIfVersion(ctx, key, taskstore.Value{ExpiresAt: time.Now().Add(time.Minute)}, 0); err != nil {
		return err
	}
	_, err := b.Delete(ctx, key)
	return err
}
