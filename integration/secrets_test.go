//go:build integration

package integration

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// planted is in every secret that the tests below plant: names, passwords, data.
const planted = "s3cr3t"

var (
	secretKey   = taskstore.Key{Owner: "owner-" + planted, Task: "task-" + planted}
	secretValue = taskstore.Value{Data: []byte("data-" + planted)}
)

const (
	secretUser     = "user-" + planted
	secretPassword = "password-" + planted
)

// A process prints its failures without secrets: errors in every form, and the log of
// go-redis. The test runs a process of its own, and has all of that process's output in hand.
func TestRedisFailuresHoldNoSecrets(t *testing.T) {
	const inChild = "TASKSTORE_TEST_SECRETS"
	if os.Getenv(inChild) != "" {
		provokeFailures(t)
		return
	}
	t.Parallel()
	child := exec.Command(os.Args[0], "-test.run=^TestRedisFailuresHoldNoSecrets$", "-test.timeout=3m")
	child.Env = append(os.Environ(), inChild+"=1")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	output := string(out)
	assert.Empty(t, leaks(output))
	for _, sign := range []string{
		"NOPERM", "WRONGTYPE", "WRONGPASS", "OOM", "READONLY", "deadline exceeded", "refused", "EOF", "ERR unknown command",
		"outcome unknown", "version conflict", "capacity exceeded", "invalid", "backend is closed",
	} {
		assert.Contains(t, output, sign, "a failure that was to be provoked")
	}
	assert.Contains(t, output, "redis: connection pool: failed to dial", "go-redis logs this")
}

// The search finds a planted secret in each form.
func TestLeaksAreFound(t *testing.T) {
	for name, text := range map[string]string{
		"Plain":     "x " + planted + " y",
		"UpperCase": "x " + strings.ToUpper(planted),
		"Base64":    "x " + base64.StdEncoding.EncodeToString([]byte("y"+planted+"z")),
		"Hex":       fmt.Sprintf("%x", planted),
		"Bytes":     fmt.Sprintf("%v", []byte(planted)),
		"GoBytes":   fmt.Sprintf("%#v", []byte(planted)),
	} {
		assert.Len(t, leaks("fine\n"+text+"\nfine"), 1, name)
	}
}

// leaks returns the lines that hold a secret in some form.
func leaks(text string) (lines []string) {
	forms := []string{planted, hex.EncodeToString([]byte(planted))}
	for shift := range 3 { // the part that does not depend on its neighbours
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + planted))
		forms = append(forms, strings.ToLower(encoded[(shift*8+5)/6:len(encoded)-1]))
	}
	bytes := strings.Trim(fmt.Sprint([]byte(planted)), "[]")
	forms = append(forms, bytes, strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", []byte(planted)), "[]byte{"), "}"))
	for line := range strings.Lines(text) {
		for _, form := range forms {
			if strings.Contains(strings.ToLower(line), form) {
				lines = append(lines, line)
				break
			}
		}
	}
	return lines
}

// say prints an error in all the ways in which it may end up in a log.
func say(err error) {
	if err == nil {
		return
	}
	fmt.Println(everyPrint(err))
	slog.Error("failed", "err", err) // to stderr
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			say(err)
		}
	}
	say(errors.Unwrap(err))
}

// sayEveryCall prints the errors of all calls on a record.
func sayEveryCall(b *taskstore.RedisBackend) {
	short := func(f func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		say(f(ctx))
	}
	short(func(ctx context.Context) error { _, err := b.Get(ctx, secretKey); return err })
	short(func(ctx context.Context) error { _, err := b.Put(ctx, secretKey, secretValue); return err })
	short(func(ctx context.Context) error { _, err := b.PutIfVersion(ctx, secretKey, secretValue, 0); return err })
	short(func(ctx context.Context) error { _, err := b.PutIfVersion(ctx, secretKey, secretValue, 7); return err })
	short(func(ctx context.Context) error { _, err := b.ListByPrefix(ctx, secretKey); return err })
	short(func(ctx context.Context) error { _, _, err := b.ListPage(ctx, secretKey, planted, 10); return err })
	short(func(ctx context.Context) error { _, _, err := b.ListPage(ctx, secretKey, "", 0); return err })
	short(func(ctx context.Context) error { _, err := b.Delete(ctx, secretKey); return err })
	short(func(ctx context.Context) error { _, err := b.Now(ctx); return err })
	short(func(ctx context.Context) error { return b.Ping(ctx) })
	short(func(ctx context.Context) error {
		findings, err := b.Check(ctx)
		fmt.Printf("%v %+v %#v\n", findings, findings, findings)
		return err
	})
	short(func(ctx context.Context) error {
		for _, err := range b.Watch(ctx, secretKey) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// withSecrets returns a URL with the secret user and password.
func withSecrets(addr string) string {
	return (&url.URL{Scheme: "redis", User: url.UserPassword(secretUser, secretPassword), Host: addr}).String()
}

func provokeFailures(t *testing.T) {
	start := func(args ...string) (*redistest.Server, *redis.Client) {
		server := redistest.Start(t, args...)
		c := admin(t, server)
		require.NoError(t, c.Do(ctx, "ACL", "SETUSER", secretUser, "on", ">"+secretPassword, "+@all", "~*", "&*").Err())
		return server, c
	}
	open := func(server *redistest.Server, opts taskstore.RedisOptions) *taskstore.RedisBackend {
		return storetest.Open(t, withSecrets(server.Addr()), opts)
	}
	cannotOpen := func(rawURL string) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := taskstore.OpenRedis(ctx, rawURL, nil)
		require.Error(t, err, rawURL)
		say(err)
	}

	server, c := start()
	b := open(server, taskstore.RedisOptions{Prefix: "p", MaxDataBytes: 100})
	fmt.Println("== refused by the library")
	sayEveryCall(b)
	_, err := b.Put(ctx, secretKey, taskstore.Value{Data: []byte(strings.Repeat(planted, 100))})
	say(err)
	_, err = b.Put(ctx, taskstore.Key{Owner: strings.Repeat(planted, 1000), Task: planted}, secretValue)
	say(err)
	_, err = b.Put(ctx, secretKey, taskstore.Value{Data: secretValue.Data, ExpiresAt: time.Unix(-1, 0)})
	say(err)
	fmt.Println("== foreign values")
	for _, k := range []string{"p:tasks:{" + secretKey.Owner + "}:" + secretKey.Task, "p:idx:{" + secretKey.Owner + "}", "p:exp:{" + secretKey.Owner + "}"} {
		require.NoError(t, c.FlushAll(ctx).Err())
		require.NoError(t, c.Set(ctx, k, planted, 0).Err())
		sayEveryCall(b)
	}
	require.NoError(t, c.FlushAll(ctx).Err())
	require.NoError(t, c.HSet(ctx, "p:tasks:{"+secretKey.Owner+"}:"+secretKey.Task, "version", planted, "data", planted).Err())
	sayEveryCall(b)
	require.NoError(t, c.FlushAll(ctx).Err())
	fmt.Println("== out of memory")
	require.NoError(t, c.ConfigSet(ctx, "maxmemory", "1").Err())
	sayEveryCall(b)
	require.NoError(t, c.ConfigSet(ctx, "maxmemory", "0").Err())
	fmt.Println("== read-only")
	require.NoError(t, c.ReplicaOf(ctx, "127.0.0.1", "1").Err())
	sayEveryCall(b)
	require.NoError(t, c.ReplicaOf(ctx, "NO", "ONE").Err())
	for _, rights := range [][]any{{"-hset", "-hmget", "-zadd", "-subscribe", "-del"}, {"resetkeys"}, {"resetchannels"}, {"-@all"}} {
		fmt.Println("== without rights", rights)
		require.NoError(t, c.Do(ctx, append([]any{"ACL", "SETUSER", secretUser, "+@all", "allkeys", "allchannels"}, rights...)...).Err())
		sayEveryCall(b)
		sayEveryCall(lendNew(t, server)) // the connections are new
	}
	fmt.Println("== the password was changed")
	require.NoError(t, c.Do(ctx, "ACL", "SETUSER", secretUser, "+@all", "allkeys", "allchannels", "resetpass", ">other").Err())
	require.NoError(t, c.ClientKillByFilter(ctx, "TYPE", "normal", "SKIPME", "yes").Err())
	sayEveryCall(b)
	cannotOpen(withSecrets(server.Addr()))
	fmt.Println("== suspended, dead, closed")
	require.NoError(t, c.Do(ctx, "ACL", "SETUSER", secretUser, "resetpass", ">"+secretPassword).Err())
	server.Suspend()
	sayEveryCall(b)
	cannotOpen(withSecrets(server.Addr()))
	server.Kill()
	sayEveryCall(b)
	cannotOpen(withSecrets(server.Addr()))
	require.NoError(t, b.Close())
	sayEveryCall(b)

	fmt.Println("== commands that the server does not have")
	server, _ = start("--rename-command", "EVALSHA", "", "--rename-command", "HMGET", "", "--rename-command", "ZRANGEBYSCORE", "",
		"--rename-command", "SUBSCRIBE", "")
	sayEveryCall(open(server, taskstore.RedisOptions{}))

	fmt.Println("== no HELLO, no AUTH")
	server = redistest.Start(t, "--rename-command", "HELLO", "", "--rename-command", "AUTH", "")
	cannotOpen(withSecrets(server.Addr()))
	cannotOpen(withSecrets(server.Addr()) + "?addr=" + server.Addr())
	sayEveryCall(lendNew(t, server))
	// A Sentinel is left out here: one before 5.0.1 has no AUTH, and go-redis logs its answer,
	// which quotes the password.

	fmt.Println("== lost answers")
	server, _ = start()
	proxy := faultproxy.New()
	t.Cleanup(proxy.Close)
	addr, err := proxy.Addr(server.Addr())
	require.NoError(t, err)
	b = storetest.Open(t, withSecrets(addr), taskstore.RedisOptions{})
	proxy.Set(faultproxy.Faults{DropReply: 1, Match: faultproxy.Commands("eval", "evalsha", "hmget", "zrangebyscore", "subscribe", "ping")})
	sayEveryCall(b)

	fmt.Println("== URLs")
	for _, rawURL := range []string{
		"http://" + secretUser + ":" + secretPassword + "@host", "redis://" + secretUser + ":" + secretPassword + "@host:port",
		"redis://:" + secretPassword + "%zz@host", "redis://:/" + secretPassword + "@host", "redis://:1?" + secretPassword + "@host",
		"redis://host/" + secretPassword + "@x", "redis://host:1/0?password=" + secretPassword + "@x", "redis://h:1?dial_timeout=1" + "&username=" + secretUser + "%zz",
		"redis://" + secretUser + ":" + secretPassword + "@127.0.0.1:1", "rediss://" + secretUser + ":" + secretPassword + "@127.0.0.1:1",
		"redis://" + secretUser + ":" + secretPassword + "@127.0.0.1:1?addr=127.0.0.1:2",
		"redis://" + secretUser + ":" + secretPassword + "@no-such-host.invalid:6379", "unix://" + secretUser + ":" + secretPassword + "@/no/such/socket",
	} {
		cannotOpen(rawURL)
	}

	fmt.Println("== Sentinel")
	sentinel := redistest.StartSentinel(t)
	for _, s := range sentinel.Sentinels {
		require.NoError(t, admin(t, s).Do(ctx, "ACL", "SETUSER", "default", "resetpass", ">"+secretPassword).Err())
	}
	cannotOpen(sentinel.URL() + "&username=" + secretUser + "&password=" + secretPassword)
	cannotOpen(strings.Replace(sentinel.URL(), "redis://", "redis://:wrong-"+secretPassword+"@", 1))
	withPassword := strings.Replace(sentinel.URL(), "redis://", "redis://:"+secretPassword+"@", 1)
	cannotOpen(withPassword + "&username=" + secretUser + "&password=" + secretPassword) // which the master does not know
	b = storetest.Open(t, withPassword, taskstore.RedisOptions{})
	for _, s := range sentinel.Sentinels {
		s.Kill()
	}
	sentinel.Master.Kill()
	sayEveryCall(b)
	cannotOpen(withPassword)

	fmt.Println("== Cluster")
	node := redistest.StartClusterOfOne(t)
	require.NoError(t, admin(t, node).Do(ctx, "ACL", "SETUSER", secretUser, "on", ">"+secretPassword, "+@all", "~*", "&*").Err())
	b = storetest.Open(t, withSecrets(node.Addr()), taskstore.RedisOptions{})
	require.NoError(t, admin(t, node).Do(ctx, "ACL", "SETUSER", secretUser, "-hset", "-hmget", "-@pubsub", "-command").Err())
	sayEveryCall(b)
	sayEveryCall(lendNew(t, node))
	require.NoError(t, admin(t, node).FlushAll(ctx).Err()) // else the slots cannot be given up
	require.NoError(t, admin(t, node).Do(ctx, "CLUSTER", "FLUSHSLOTS").Err())
	sayEveryCall(b)
	node.Kill()
	sayEveryCall(b)
	cannotOpen(withSecrets(node.Addr()))
	cannotOpen(withSecrets(node.Addr()) + "?addr=" + node.Addr())
}

// lendNew returns a backend on connections of its own, made without asking the
// server anything.
func lendNew(t *testing.T, server *redistest.Server) *taskstore.RedisBackend {
	o, err := redis.ParseURL(withSecrets(server.Addr()))
	require.NoError(t, err)
	client := redis.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	b, err := taskstore.NewRedisBackend(client, nil)
	require.NoError(t, err)
	return b
}
