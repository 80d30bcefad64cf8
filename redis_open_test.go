package taskstore

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/fakeredis"
)

// fakeServer returns the address of a server that answers each command as answers
// says, by its name and, before that, by its name and first argument. It knows no
// other command. PORT in an answer stands for its own.
func fakeServer(t *testing.T, answers map[string]string) (addr string) {
	var s *fakeredis.Server
	s = fakeredis.Serve(t, func(args []string) string {
		name := strings.ToLower(args[0])
		answer, ok := answers[name]
		if len(args) > 1 {
			if more, hasMore := answers[name+" "+strings.ToLower(args[1])]; hasMore {
				answer, ok = more, true
			}
		}
		if !ok {
			return fakeredis.Unknown
		}
		_, port, _ := net.SplitHostPort(s.Addr)
		return strings.ReplaceAll(answer, "PORT", port)
	})
	return s.Addr
}

// OpenRedis works on every server on which the client works, also on servers and proxies that
// do not know HELLO, or only with arguments.
func TestOpenRedisWorksWithoutHello(t *testing.T) {
	const arity = "-ERR wrong number of arguments for 'hello' command\r\n"
	const denied = "-NOPERM this user has no permissions to run the 'hello' command\r\n"
	ok := "+OK\r\n"
	info := func(version, mode, role string) string {
		return fakeredis.Bulk("# Server\r\nredis_version:" + version + "\r\nredis_mode:" + mode + "\r\n# Replication\r\nrole:" + role + "\r\n")
	}
	for name, c := range map[string]struct {
		answers map[string]string
		says    string // of the error, empty for success
	}{
		"NoHello":            {map[string]string{"info": info("6.2.14", "standalone", "master")}, ""},
		"NoEmptyHello":       {map[string]string{"hello": arity, "info": info("7.2.4", "standalone", "master")}, ""},
		"HelloIsDenied":      {map[string]string{"hello": denied, "info": info("7.2.4", "standalone", "master")}, ""},
		"InfoSaysLittle":     {map[string]string{"hello": arity, "info": fakeredis.Bulk("# Clients\r\nconnected_clients:1\r\n")}, ""},
		"OnlyPing":           {map[string]string{"ping": "+PONG\r\n"}, ""},
		"NotEvenPing":        {map[string]string{}, "it refuses"},
		"EverythingIsDenied": {map[string]string{"hello": denied, "info": "-NOPERM this user has no permissions to run the 'info' command\r\n", "ping": "+PONG\r\n"}, "grant +hello"},
		"Redis6.0":           {map[string]string{"hello": arity, "info": info("6.0.16", "standalone", "master")}, "it is version 6.0.16, and lacks HELLO without arguments"},
		"Redis5":             {map[string]string{"info": info("5.0.9", "standalone", "master")}, "it is version 5.0.9, and lacks ACL users"},
		"Redis4":             {map[string]string{"info": info("4.0.14", "standalone", "master")}, "it is version 4.0.14, and lacks scripts that read the time"},
		"Replica":            {map[string]string{"info": info("6.2.14", "standalone", "slave")}, "it is a replica"},
		"Sentinel":           {map[string]string{"info": info("6.2.14", "sentinel", "")}, "it is a Sentinel"},
	} {
		for _, protocol := range []string{"", "?protocol=2"} {
			t.Run(name+protocol, func(t *testing.T) {
				c.answers["client"], c.answers["hello 3"] = ok, "-ERR unknown command 'HELLO'\r\n"
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				b, err := OpenRedis(ctx, "redis://"+fakeServer(t, c.answers)+protocol, nil)
				if c.says == "" {
					require.NoError(t, err)
					assert.NoError(t, b.Close())
					return
				}
				var refused *ConnectError
				require.ErrorAs(t, err, &refused)
				assert.Contains(t, err.Error(), c.says)
			})
		}
	}
}

// A server that turns out to be a node of a Cluster is told apart by INFO too, and a
// database of it is refused.
func TestOpenRedisFindsAClusterWithoutHello(t *testing.T) {
	answers := map[string]string{
		"info": fakeredis.Bulk("redis_version:9.0.0\r\nredis_mode:cluster\r\nrole:master\r\n"), "select": "+OK\r\n", "client": "+OK\r\n",
		"command":       "*0\r\n",
		"cluster slots": "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n" + fakeredis.Bulk("127.0.0.1") + ":PORT\r\n" + fakeredis.Bulk("id"),
	}
	addr := fakeServer(t, answers)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	b, err := OpenRedis(ctx, "redis://"+addr, nil)
	require.NoError(t, err)
	defer b.Close()
	assert.True(t, b.link.Cluster())
	_, err = OpenRedis(ctx, "redis://"+addr+"/3", nil)
	var refused *ConnectError
	require.ErrorAs(t, err, &refused)
	assert.Contains(t, refused.Reason, "database 0")
}
