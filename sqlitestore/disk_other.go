//go:build !linux && !darwin && !windows

package sqlitestore

import "errors"

func diskOf(string) (disk, error) { return disk{}, errors.ErrUnsupported }
