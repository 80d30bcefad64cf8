package taskstore

import (
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/hub"
)

// Every pair of short strings over the characters that could be mistaken for
// structure has keys of its own.
func TestKeysAreInjective(t *testing.T) {
	const alphabet = "a:{}%+ "
	words := []string{}
	for _, a := range alphabet {
		words = append(words, string(a))
		for _, b := range alphabet {
			words = append(words, string(a)+string(b))
			for _, c := range alphabet {
				words = append(words, string(a)+string(b)+string(c))
			}
		}
	}
	k := redisKeys{prefix: "p"}
	seen := make(map[string]Key, len(words)*len(words))
	add := func(name string, key Key) {
		other, dup := seen[name]
		require.False(t, dup, "%#v and %#v share the key %s", [3]string{key.Owner, key.Collection, key.Task}, [3]string{other.Owner, other.Collection, other.Task}, name)
		seen[name] = key
	}
	short := append([]string{"", "."}, words[:20]...)
	for _, owner := range words {
		collections := []string{""}
		if len(owner) < 2 {
			collections = short
		}
		for _, collection := range collections {
			o := k.scope(hub.Scope{Owner: owner, Collection: collection})
			for _, task := range words {
				add(o.task(task), Key{Owner: owner, Collection: collection, Task: task})
			}
			add(o.index, Key{Owner: owner, Collection: collection})
			add(o.expiry, Key{Owner: owner, Collection: collection})
			for _, database := range []string{"/1", "/2"} {
				k.database = database
				add(k.channel(hub.Scope{Owner: owner, Collection: collection}), Key{Owner: owner, Collection: collection})
			}
		}
	}
	assert.Greater(t, len(seen), len(words)*len(words))
}

// hashTag is the part of a key that chooses its slot, as the Cluster
// specification has it.
func hashTag(key string) string {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return key
	}
	if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
		return tag
	}
	return key
}

func FuzzKeys(f *testing.F) {
	for _, s := range []string{"a", "a:b", "a}b", "{", "{}", "auth0|x", "%", "%7B", " ", "+", "\x00", "\xff\xfe", "é"} {
		f.Add(s, "", "task")
		f.Add("owner", s, s)
	}
	f.Fuzz(func(t *testing.T, owner, collection, task string) {
		for _, s := range []string{owner, collection, task} {
			escaped := escapeKeyPart(s)
			if back, err := url.QueryUnescape(escaped); err != nil || back != s {
				t.Fatalf("%q is escaped as %q, which reads back as %q, %v", s, escaped, back, err)
			}
			if strings.ContainsAny(escaped, "{}:") {
				t.Fatalf("%q is escaped as %q", s, escaped)
			}
		}
		if owner == "" {
			return // refused before a key is built
		}
		k := redisKeys{prefix: "app:prod"}
		scope := hub.Scope{Owner: owner, Collection: collection}
		o := k.scope(scope)
		if got := k.record(Key{Owner: owner, Collection: collection, Task: task}); got != o.task(task) {
			t.Fatalf("two keys of one record: %q and %q", got, o.task(task))
		}
		for _, database := range []string{"", "/7"} {
			k.database = database
			if got := k.scopeOf(k.channel(scope)); got != scope {
				t.Fatalf("the channel of %q is that of %q", scope, got)
			}
			if got, ok := k.ownerOfIndex(o.index); !ok || got != owner {
				t.Fatalf("the index of %q is that of %q, %t", owner, got, ok)
			}
			for _, other := range []string{o.task(task), o.expiry, "x" + o.index} {
				if got, ok := k.ownerOfIndex(other); ok {
					t.Fatalf("%q is an index of %q", other, got)
				}
			}
		}
		for _, key := range []string{o.task(task), o.index, o.expiry} {
			if tag := hashTag(key); tag != escapeKeyPart(owner) {
				t.Fatalf("the hash tag of %q is %q", key, tag)
			}
		}
	})
}

// Backends on one database have one name for a channel. To go-redis a negative database
// is database 0.
func TestChannelsAreNamedByTheDatabaseThatIsUsed(t *testing.T) {
	for database, want := range map[int]string{0: "taskstore:idx:{o}", -1: "taskstore:idx:{o}", 3: "taskstore:idx:{o}/3"} {
		for _, client := range []*redis.Client{
			redis.NewClient(&redis.Options{Addr: "h:1", DB: database}),
			redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"h:1"}, DB: database}),
		} {
			b, err := NewRedisBackend(client, nil)
			require.NoError(t, err)
			assert.Equal(t, want, b.keys.channel(hub.Scope{Owner: "o"}))
			require.NoError(t, client.Close())
		}
	}
}
