package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/taskstore/taskstore/internal/redistest"
)

// A host stands for a test before redistest: servers that it starts end with it, or with the
// process, however that dies.
type host struct {
	testing.TB // for the methods that redistest leaves alone
	cleanups   []func()
}

func (*host) Helper()            {}
func (*host) Failed() bool       { return false }
func (*host) Log(...any)         {}
func (h *host) Cleanup(f func()) { h.cleanups = append(h.cleanups, f) }
func (*host) Fatal(args ...any)  { panic(fatal(fmt.Sprint(args...))) }

// fatal is the panic that ends start.
type fatal string

// start starts a server without persistence.
func (h *host) start() (server *redistest.Server, err error) {
	defer h.recovered(&err)
	return redistest.Start(h), nil
}

// recovered is deferred. It has a function return the error that Fatal got.
func (h *host) recovered(err *error) {
	switch p := recover().(type) {
	case nil:
	case fatal:
		*err = errors.New(string(p))
	default:
		panic(p)
	}
}

func (h *host) end() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
}
