package ui

import (
	"errors"
	"fmt"
	"net"
)

// ErrNoToken is the error of a public address without a token.
var ErrNoToken = errors.New("other machines reach this address: give a token by --token-file or TASKSTORE_UI_TOKEN, or listen on 127.0.0.1")

// Listen listens on the address. Without a token it refuses an address that other machines
// reach.
func Listen(address, token string) (net.Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	if isPublic(a) && token == "" {
		return nil, ErrNoToken
	}
	l, err := net.ListenTCP("tcp", a)
	if err != nil {
		return nil, err // it names the address
	}
	return l, nil
}

// isPublic reports whether other machines reach the address. An address without an IP stands
// for all interfaces.
func isPublic(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || !t.IP.IsLoopback()
}
