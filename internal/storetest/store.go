package storetest

import (
	"context"
	"math"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// A Store is a backend on the shared server, with its prefix and a separate client to
// inspect its keys.
type Store struct {
	*taskstore.RedisBackend
	Prefix string
	Client *redis.Client
}

// New returns a store that ends with the test.
func New(t *testing.T, opts taskstore.RedisOptions) Store {
	t.Helper()
	url := redistest.SharedURL(t)
	client := connect(t, url)
	t.Cleanup(func() { _ = client.Close() })
	opts.Prefix = uuid.NewString()
	return Store{Open(t, url, opts), opts.Prefix, client}
}

// RecordKey returns the key of a record.
func (s Store) RecordKey(k taskstore.Key) string {
	return s.Prefix + ":tasks:{" + k.Owner + "}:" + k.Task
}

// IndexKey returns the key of an owner's index.
func (s Store) IndexKey(owner string) string { return s.Prefix + ":idx:{" + owner + "}" }

// ExpiryKey returns the key of an owner's expiry index.
func (s Store) ExpiryKey(owner string) string { return s.Prefix + ":exp:{" + owner + "}" }

// End returns when a key's TTL is over, or the zero Time for a key without a TTL. Servers
// before 7.0 do not tell the instant.
func (s Store) End(t *testing.T, key string) time.Time {
	t.Helper()
	ctx := context.Background()
	ttl, err := s.Client.PTTL(ctx, key).Result()
	if err != nil {
		t.Fatal(err)
	}
	if ttl < 0 {
		return time.Time{}
	}
	return s.Client.Time(ctx).Val().Add(ttl)
}

// KeysLeft returns the store's keys that exist.
func (s Store) KeysLeft(t *testing.T) []string {
	t.Helper()
	ctx := context.Background()
	var keys []string
	scan := s.Client.Scan(ctx, 0, s.Prefix+":*", 10000).Iterator()
	for scan.Next(ctx) {
		keys = append(keys, scan.Val())
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return keys
}

// CheckIndexes compares the owner's indexes with the existing records.
func (s Store) CheckIndexes(t *testing.T, owner string) {
	t.Helper()
	ctx := context.Background()
	// The indexes first: a record that expires in between may be in them and no longer
	// exist.
	index, expiry := s.members(s.IndexKey(owner)), s.members(s.ExpiryKey(owner))
	start := s.Prefix + ":tasks:{" + owner + "}:"
	latest := 0.0
	for _, key := range s.KeysLeft(t) {
		escaped, ok := strings.CutPrefix(key, start)
		if !ok {
			continue
		}
		task, err := url.QueryUnescape(escaped)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := s.Client.HMGet(ctx, key, "version", "expires_at").Result()
		if err != nil {
			t.Fatal(err)
		}
		if fields[0] == nil {
			continue // expired since it was scanned
		}
		_, inIndex := index[task]
		score, inExpiry := expiry[task]
		if fields[1] == nil {
			if !inIndex {
				t.Errorf("the live task %s is not in the index", task)
			}
			if inExpiry {
				t.Errorf("the permanent task %s is among the expiring", task)
			}
			continue
		}
		at, err := strconv.ParseFloat(fields[1].(string), 64)
		if err != nil {
			t.Fatal(err)
		}
		if at < float64(s.Client.Time(ctx).Val().UnixMilli()) {
			continue // expired, but its TTL is not over
		}
		if !inIndex {
			t.Errorf("the live task %s is not in the index", task)
		}
		if score != at {
			t.Errorf("the task %s expires at %f, by the index at %f", task, at, score)
		}
		latest = math.Max(latest, at)
	}
	for task := range expiry {
		if _, inIndex := index[task]; !inIndex {
			t.Errorf("the expiring task %s is not in the index", task)
		}
	}
	for _, key := range []string{s.IndexKey(owner), s.ExpiryKey(owner)} {
		end := s.End(t, key)
		switch {
		case s.Client.Exists(ctx, key).Val() == 0:
		case len(index) == len(expiry):
			if float64(end.UnixMilli()) < latest {
				t.Errorf("the index %s, which may die, ends at %v, before its last task", key, end)
			}
		case !end.IsZero():
			t.Errorf("the index %s, with a permanent task, ends at %v", key, end)
		}
	}
}

func (s Store) members(key string) map[string]float64 {
	m := map[string]float64{}
	for _, z := range s.Client.ZRangeWithScores(context.Background(), key, 0, -1).Val() {
		m[z.Member.(string)] = z.Score
	}
	return m
}
