package sqlitestore

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

func diskOf(dir string) (d disk, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return disk{}, err
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(dir) + `\`)
	if err != nil {
		return disk{}, err
	}
	if windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		d.network = "a drive of another host"
	}
	return d, windows.GetDiskFreeSpaceEx(path, &d.free, nil, nil)
}
