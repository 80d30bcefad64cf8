package redistest

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/testproc"
)

func fakeServers(ports ...int) []*Server {
	servers := make([]*Server, len(ports))
	for i, port := range ports {
		servers[i] = &Server{port: port}
	}
	return servers
}

func TestURLForms(t *testing.T) {
	one := &Server{port: 7001}
	assert.Equal(t, "127.0.0.1:7001", one.Addr())
	assert.Equal(t, "redis://127.0.0.1:7001/0", one.URL())

	one.password = "a b:c@d"
	assert.Equal(t, "redis://:a%20b%3Ac%40d@127.0.0.1:7001/0", one.URL())

	cluster := &Cluster{Masters: fakeServers(1, 2), Replicas: fakeServers(3)}
	assert.Equal(t, "redis://127.0.0.1:1?addr=127.0.0.1:2&addr=127.0.0.1:3", cluster.URL())

	sentinel := &Sentinel{Sentinels: fakeServers(1, 2, 3), MasterName: "m"}
	assert.Equal(t, "redis://127.0.0.1:1?master_name=m&addr=127.0.0.1:2&addr=127.0.0.1:3", sentinel.URL())
	sentinel.password = "a&b"
	assert.Equal(t, "redis://127.0.0.1:1?master_name=m&addr=127.0.0.1:2&addr=127.0.0.1:3&password=a%26b", sentinel.URL())
}

func TestBinary(t *testing.T) {
	t.Run("a missing one names the remedy", func(t *testing.T) {
		t.Setenv(binaryEnv, filepath.Join(t.TempDir(), "none"))
		_, err := Binary()
		require.ErrorContains(t, err,
			`run "make test", which finds or installs it, or set TASKSTORE_REDIS_SERVER`)
	})
	t.Run("valkey-server does as well", func(t *testing.T) {
		dir := t.TempDir()
		valkey := filepath.Join(dir, "valkey-server")
		require.NoError(t, os.WriteFile(valkey, []byte("#!/bin/sh\n"), 0o700))
		t.Setenv(binaryEnv, "valkey-server")
		t.Setenv("PATH", dir)
		path, err := Binary()
		require.NoError(t, err)
		assert.Equal(t, valkey, path)
	})
}

func TestURLPrefersTheExternalServer(t *testing.T) {
	t.Setenv(urlEnv, "redis://example:1/2")
	assert.Equal(t, "redis://example:1/2", URL(t))
	assert.Equal(t, "redis://example:1/2", SharedURL(t))
}

func TestPasswordOf(t *testing.T) {
	assert.Empty(t, passwordOf(nil))
	assert.Empty(t, passwordOf([]string{"--requirepass"}))
	assert.Equal(t, "b", passwordOf([]string{"--requirepass", "a", "--RequirePass", "b"}))
}

func TestTail(t *testing.T) {
	var log testproc.Tail
	log.Write([]byte("before "))
	mark := log.Mark()
	log.Write([]byte("after"))
	assert.Equal(t, "before after", log.String())
	assert.Equal(t, "after", log.Since(mark))

	log.Write([]byte(strings.Repeat("x", testproc.TailLimit-1) + "y"))
	assert.Len(t, log.String(), testproc.TailLimit)
	assert.True(t, strings.HasSuffix(log.String(), "xy"))
	assert.Len(t, log.Since(mark), testproc.TailLimit)
}

func TestReadReply(t *testing.T) {
	read := func(s string) (any, error) { return readReply(bufio.NewReader(strings.NewReader(s))) }

	reply, err := read("*4\r\n+OK\r\n:7\r\n$-1\r\n$4\r\na\r\nb\r\n")
	require.NoError(t, err)
	assert.Equal(t, []any{"OK", int64(7), nil, "a\r\nb"}, reply)

	_, err = read("-NOAUTH no\r\n")
	assert.True(t, isReplyError(err, "NOPERM", "NOAUTH"))
	for _, bad := range []string{"", "\r\n", "$5\r\nab", ":x\r\n", "?1\r\n"} {
		_, err := read(bad)
		assert.Error(t, err, "%q", bad)
	}
}

func TestSlotRangesCoverAllSlots(t *testing.T) {
	next := 0
	for i := range clusterMasters {
		first, last := slotRange(i)
		assert.Equal(t, next, first)
		next = last + 1
	}
	assert.Equal(t, clusterSlots, next)
}
