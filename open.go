package taskstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// An Opener opens the store that a URL names. It asks the store whether it can be used.
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

// Register has [Open] open URLs of scheme by open. The package of a backend calls it when
// it is imported. It panics where the scheme is taken or no scheme of a URL.
func Register(scheme string, open Opener) {
	openers.Lock()
	defer openers.Unlock()
	if _, taken := openers.of[scheme]; taken || open == nil || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		panic(fmt.Sprintf("taskstore: register %q: the scheme is taken or is none in lower case, or the opener is nil", scheme))
	}
	openers.of[scheme] = open
}

// Open opens the store that rawURL names, so that a program takes any by one flag:
//
//	memory:                         a [MemoryBackend]
//	redis://…, rediss://…, unix://… see [OpenRedis]
//
// and those of the backends that the program imports, see [Register]. The backend is an
// [io.Closer] if it holds resources; close it then.
//
// A URL that cannot be used gives an error that matches [ErrInvalidArgument], a store that
// cannot a [*ConnectError] that says why. Neither holds a password.
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
		// The scheme is not repeated: in a URL that lacks it, a password may stand there.
		return nil, &ArgumentError{Argument: "store URL", Reason: "it must begin with one of " + strings.Join(known, ":, ") +
			": (other stores are known once the program imports their package)"}
	}
	return open(ctx, rawURL)
}

func openMemory(_ context.Context, rawURL string) (StorageBackend, error) {
	if _, rest, _ := strings.Cut(rawURL, ":"); strings.Trim(rest, "/") != "" {
		return nil, &ArgumentError{Argument: "store URL", Reason: "nothing follows memory:, for there is nothing to name"}
	}
	return NewMemoryBackend(nil), nil
}

func openRedis(ctx context.Context, rawURL string) (StorageBackend, error) {
	b, err := OpenRedis(ctx, rawURL, nil)
	if err != nil {
		return nil, err // and no backend that is a nil pointer
	}
	return b, nil
}
