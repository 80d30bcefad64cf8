//go:build !linux

package main

import "errors"

// pin fails: this program chooses cores on Linux only.
func pin() (unpin func() error, err error) {
	return nil, errors.New("the program can do so on Linux only")
}
