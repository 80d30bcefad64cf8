package sqlitestore

import (
	"os"

	"golang.org/x/sys/windows"
)

func lock(f *os.File) error {
	return os.NewSyscallError("LockFileEx", windows.LockFileEx(
		windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, new(windows.Overlapped)))
}

func unlock(f *os.File) error {
	return os.NewSyscallError("UnlockFileEx", windows.UnlockFileEx(
		windows.Handle(f.Fd()), 0, 1, 0, new(windows.Overlapped)))
}
