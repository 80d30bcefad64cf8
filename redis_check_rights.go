package taskstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskstore/taskstore/internal/hub"
	"github.com/taskstore/taskstore/internal/redislink"
)

// A server checks the user's rights first, and so does a node of a Cluster that does not
// have the key. So Check tries each command that the backend or a script uses in a form
// that has no effect, on a key that does not exist. Otherwise a user without a right
// would learn of it in the middle of a task's life, when a script comes to the command.

// probes returns these commands. Only a refusal for lack of rights counts; any other error
// of the server is ignored.
func (n *checkedNode) probes(key string) [][]any {
	probes := [][]any{
		{"ping"},
		{"time"},
		{"eval", "return 1", 1, key},
		{"evalsha", n.b.scripts.clock.SHA, 1, key},
		{"hmget", key, "version"},
		{"hget", key, "version"},
		{"hset", key, "version", "1", "data"}, // a value is missing
		{"hdel", key, "version"},
		{"hstrlen", key, "data"},
		{"exists", key},
		{"del", key},
		{"pexpireat", key, 1},
		{"persist", key},
		{"zadd", key, "no number", "task"},
		{"zrem", key, "task"},
		{"zscore", key, "task"},
		{"zcard", key},
		{"zcount", key, 0, 0},
		{"zrange", key, 0, 0},
		{"zrangebyscore", key, 0, 0},
	}
	if n.b.opts.MinReplicas > 0 {
		probes = append(probes, []any{"wait", 0, 1})
	}
	if n.Addr != "" {
		// ASKING applies to the next command on its connection, so it is not the last.
		probes = append(probes, []any{"asking"}, []any{"cluster", "slots"}, []any{"command", "info", "ping"})
	}
	return probes
}

// inspectRights finds commands, keys and channels that the user may not use.
func (n *checkedNode) inspectRights(ctx context.Context) error {
	id := strconv.FormatUint(rand.Uint64(), 36)
	o := n.b.keys.scope(hub.Scope{Owner: checkOwner + id})
	var d denials
	probes := n.probes(o.task(id))
	outcomes, err := n.Try(ctx, probes)
	if err != nil {
		return err
	}
	for i, outcome := range outcomes {
		name := probes[i][0].(string)
		if name == "cluster" {
			name = "cluster|slots"
		}
		if err := d.note(name, outcome); err != nil {
			return err
		}
	}
	if !n.b.opts.NoHints {
		if err := n.probeHints(ctx, &d, n.b.keys.channel(hub.Scope{Owner: checkOwner + id})); err != nil {
			return err
		}
	}
	n.checkRights(d)
	return nil
}

// probeHints publishes as the scripts do, and subscribes as Watch does, on a
// connection of its own.
func (n *checkedNode) probeHints(ctx context.Context, d *denials, channel string) error {
	publish := func(name string) error { return d.note(name, n.Publish(ctx, name, channel)) }
	subscribe := func(prefix string, sharded bool) error {
		s := n.Subscribe(ctx, sharded)
		defer s.Close()
		ask := func(name string, send func(ctx context.Context, channels ...string) error) error {
			err := send(ctx, channel)
			if err == nil {
				err = s.Answer(ctx, checkTimeout)
			}
			return d.note(name, err)
		}
		return errors.Join(ask(prefix+"subscribe", s.Add), ask(prefix+"unsubscribe", s.Remove))
	}
	if n.Addr != "" {
		err := publish("spublish")
		if err != nil || !slices.Contains(d.missing, "spublish") {
			return errors.Join(err, subscribe("s", true))
		}
	}
	return errors.Join(publish("publish"), subscribe("", false))
}

// denials are the commands, keys and channels that a server refuses to the user.
type denials struct {
	commands       []string // that the user may not run
	missing        []string // commands that the server does not have
	keys, channels bool
}

// note records the answer to a command. It returns err if it is not a server's answer.
func (d *denials) note(name string, err error) error {
	said := redislink.Answer(err) // without the text that a hook put around it
	switch {
	case err == nil:
	case said == "":
		return err
	case redislink.Said(err, "ERR unknown command"):
		d.missing = append(d.missing, name)
	case !redislink.Said(err, "NOPERM"):
	case strings.Contains(said, "permissions to run"):
		d.commands = append(d.commands, name)
	case strings.Contains(said, "channel"):
		d.channels = true
	default:
		d.keys = true
	}
	return nil
}

func (n *checkedNode) checkRights(d denials) {
	const failing, unheard = "calls that need this fail", "watches fail, or hints are lost"
	ofHints := func(command string) bool {
		return strings.HasSuffix(command, "publish") || strings.HasSuffix(command, "subscribe")
	}
	for _, hints := range []bool{false, true} {
		breaks, add := failing, n.fatal
		if hints {
			breaks, add = unheard, n.add
		}
		others := func(command string) bool { return ofHints(command) != hints }
		if denied := slices.DeleteFunc(slices.Clone(d.commands), others); len(denied) > 0 {
			add("the user may not run "+strings.Join(denied, ", "), breaks, "grant +"+strings.Join(denied, " +"))
		}
		missing := slices.DeleteFunc(slices.Clone(d.missing), others)
		switch {
		case slices.Contains(missing, "spublish"):
			n.add("the Cluster has no sharded channels", "each hint goes to every node", "upgrade to Redis 7.0, Valkey 7.2 or later")
		case len(missing) > 0:
			add("the server lacks "+strings.Join(missing, ", "), breaks, "enable it on the server")
		}
	}
	prefix := n.b.keys.prefix + ":*"
	if d.keys {
		n.fatal("the user may not read and write all keys "+prefix, failing, "grant ~"+prefix)
	}
	if d.channels {
		n.add("the user may not use all channels "+prefix, unheard, "grant &"+prefix)
	}
}

// checkTimeout is the longest wait for one answer.
const checkTimeout = 8 * time.Second

// checkOwner starts the owners of the records that Check writes.
const checkOwner = "taskstore-check-"

// tryVerbs takes a record through its life.
func (b *RedisBackend) tryVerbs(ctx context.Context) (err error) {
	now, err := b.Now(ctx)
	if err != nil {
		return err
	}
	id := strconv.FormatUint(rand.Uint64(), 36)
	key := Key{Owner: checkOwner + id, Task: id}
	value := Value{ExpiresAt: now.Add(time.Minute)}
	defer func() {
		if err != nil { // the record may exist; in the background, as ctx may be done
			go func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
				defer cancel()
				_, _ = b.Delete(ctx, key)
			}()
		}
	}()
	version, err := b.PutIfVersion(ctx, key, value, 0)
	if err != nil {
		return err
	}
	if _, err = b.PutIfVersion(ctx, key, value, version); err != nil {
		return err
	}
	if _, err = b.Put(ctx, key, value); err != nil {
		return err
	}
	if _, err = b.Get(ctx, key); err != nil {
		return err
	}
	if _, err = b.ListByPrefix(ctx, key); err != nil {
		return err
	}
	_, err = b.Delete(ctx, key)
	return err
}
