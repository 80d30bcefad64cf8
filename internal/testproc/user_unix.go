//go:build unix

package testproc

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// A User is the user a process runs as.
type User struct{ uid, gid uint32 }

// Unprivileged returns the user for a server that refuses to run as root. It is nil, which
// stands for the user of the tests, unless that is root.
func Unprivileged() (*User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var err error
	for _, name := range []string{"postgres", "nobody"} {
		var u *user.User
		if u, err = user.Lookup(name); err != nil {
			continue
		}
		uid, e1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, e2 := strconv.ParseUint(u.Gid, 10, 32)
		if e1 == nil && e2 == nil {
			return &User{uint32(uid), uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("testproc: no user but root: %w", err)
}

// Own makes the file or directory the user's.
func (u *User) Own(path string) error {
	if u == nil {
		return nil
	}
	return os.Chown(path, int(u.uid), int(u.gid))
}

func (u *User) credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.uid, Gid: u.gid}
}
