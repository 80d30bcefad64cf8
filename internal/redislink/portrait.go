package redislink

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A Portrait is a server's description of itself. A field that the server does not tell is
// empty.
type Portrait struct{ Mode, Role, Version string }

// Ask asks the server by HELLO, and by INFO if the server does not permit HELLO or does not
// know it without arguments (servers before 6.2, some proxies). go-redis itself needs
// neither: if the server refuses INFO too and answers PING, the Portrait is empty.
func Ask(ctx context.Context, client redis.UniversalClient) (Portrait, error) {
	hello, unknown := Detach(ctx, func() (map[string]any, error) {
		return ask(ctx, client, redis.NewMapStringInterfaceCmd(ctx, "hello")).Result()
	})
	if unknown == nil {
		said := func(name string) string { s, _ := hello[name].(string); return s }
		return Portrait{Mode: said("mode"), Role: said("role")}, nil
	}
	if !errors.As(unknown, new(redis.Error)) || BadCredentials(unknown) || transient(unknown) {
		return Portrait{}, unknown
	}
	text, err := Detach(ctx, func() (string, error) { return ask(ctx, client, redis.NewStringCmd(ctx, "info")).Result() })
	if err == nil {
		info := ParseInfo(text)
		role := info["role"]
		if role == "slave" {
			role = "replica"
		}
		mode := info["redis_mode"] // later servers may rename it
		if info["cluster_enabled"] == "1" {
			mode = "cluster"
		}
		return Portrait{Mode: mode, Role: role, Version: info["redis_version"]}, nil
	}
	if !errors.As(err, new(redis.Error)) {
		return Portrait{}, err
	}
	if Said(unknown, "NOPERM") {
		return Portrait{}, unknown
	}
	_, err = Detach(ctx, func() (string, error) { return ask(ctx, client, redis.NewStatusCmd(ctx, "ping")).Result() })
	return Portrait{}, err
}

// ParseInfo reads the lines of INFO, "name:value".
func ParseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}
