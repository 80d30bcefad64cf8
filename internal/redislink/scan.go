package redislink

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A ScanPage is the result of one SCAN.
type ScanPage struct {
	Keys []string
	Next uint64 // the cursor of the next page; 0: this was the last one
}

// Scan returns one page of the keys that match a pattern. The walk begins at cursor 0. The
// server looks at about count keys. A key that exists throughout the walk is in at least
// one page. The command is sent once, because a cursor belongs to one server and the
// client's own retry may reach another.
func (n Node) Scan(ctx context.Context, cursor uint64, pattern string, count int64) (ScanPage, error) {
	return Detach(ctx, func() (ScanPage, error) {
		cmd := redis.NewScanCmd(ctx, n.commands().Process, "scan", cursor, "match", pattern, "count", count)
		_ = n.commands().Process(ctx, once{cmd})
		keys, next, err := cmd.Result()
		return ScanPage{Keys: keys, Next: next}, err
	})
}
