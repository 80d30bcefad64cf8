package ui

import (
	"errors"
	"fmt"
	"net"
)

// ErrNoToken is why an address is refused.
var ErrNoToken = errors.New("other machines reach this address: give a token by --token-file or TASKSTORE_UI_TOKEN, or listen on 127.0.0.1")

// Listen listens on the address. One that other machines reach it refuses without a token.
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

// isPublic reports whether other machines reach the address. One without an IP is that of
// all interfaces.
func isPublic(a net.Addr) bool {
	t, ok := a.(*net.TCPAddr)
	return !ok || !t.IP.IsLoopback()
}
