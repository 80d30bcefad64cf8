package redislink

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// A ScanPage is what one SCAN found.
type ScanPage struct {
	Keys []string
	Next uint64 // the cursor to go on with; 0: that was all
}

// Scan asks for keys that match a pattern, from a cursor on, 0 at the beginning. The server
// looks at about count keys. A key that is there through the whole walk is in some page,
// perhaps in several. It goes once: a cursor is of one server, and where the client resends
// by itself another one may get it.
func (n Node) Scan(ctx context.Context, cursor uint64, pattern string, count int64) (ScanPage, error) {
	return Detach(ctx, func() (ScanPage, error) {
		cmd := redis.NewScanCmd(ctx, n.commands().Process, "scan", cursor, "match", pattern, "count", count)
		_ = n.commands().Process(ctx, once{cmd})
		keys, next, err := cmd.Result()
		return ScanPage{Keys: keys, Next: next}, err
	})
}
