package taskstore

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// An Opener opens the store that a URL names, and asks the store whether it can be used.
type Opener func(ctx context.Context, rawURL string) (StorageBackend, error)

var openers = struct {
	sync.RWMutex
	of map[string]Opener // by scheme
}{of: map[string]Opener{
	"memory": openMemory,
	"redis":  openRedis,
	"rediss": openRedis,
	"unix":   openRedis,
}}

// Register makes [Open] use open for URLs of scheme. A backend's package calls it when
// it is imported. It panics if the scheme is taken or not a valid scheme of a URL in lower
// case, or if open is nil.
func Register(scheme string, open Opener) {
	openers.Lock()
	defer openers.Unlock()
	if _, taken := openers.of[scheme]; taken || open == nil || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		panic(fmt.Sprintf("taskstore: register %q: the scheme is taken or malformed (use a-z, 0-9, +, - and .), or the opener is nil", scheme))
	}
	openers.of[scheme] = open
}

// Open opens the store that rawURL names, so that one flag of a program selects any store:
//
//	memory:                         a [MemoryBackend]
//	redis://…, rediss://…, unix://… see [OpenRedis]
//
// and those of the backends that the program imports, see [Register]. The caller closes the
// backend by [Close].
//
// A URL that cannot be used gives an error that matches [ErrInvalidArgument]; a store that
// cannot be used gives a [*ConnectError] with the reason. Both omit passwords.
func Open(ctx context.Context, rawURL string) (StorageBackend, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	scheme, _, ok := strings.Cut(rawURL, ":")
	openers.RLock()
	open := openers.of[strings.ToLower(scheme)]
	known := slices.Sorted(maps.Keys(openers.of))
	openers.RUnlock()
	if !ok || open == nil {
		// The message omits the scheme: in a URL that lacks one, a password may be first.
		return nil, &ArgumentError{Argument: "store URL", Reason: "it must begin with one of " + strings.Join(known, ":, ") +
			": (other stores are known once the program imports their package)"}
	}
	return open(ctx, rawURL)
}

// Close frees what b holds: it closes the first of b and the backends that it wraps which is
// an [io.Closer]. A backend that is none holds nothing, and the error is nil.
func Close(b StorageBackend) error {
	if c, ok := As[io.Closer](b); ok {
		return c.Close()
	}
	return nil
}

func openMemory(_ context.Context, rawURL string) (StorageBackend, error) {
	if _, rest, _ := strings.Cut(rawURL, ":"); strings.Trim(rest, "/") != "" {
		return nil, &ArgumentError{Argument: "store URL", Reason: "memory: takes no path; write memory: alone"}
	}
	return NewMemoryBackend(nil), nil
}

func openRedis(ctx context.Context, rawURL string) (StorageBackend, error) {
	b, err := OpenRedis(ctx, rawURL, nil)
	if err != nil {
		return nil, err // a bare nil: a nil *RedisBackend would be a non-nil interface
	}
	return b, nil
}
