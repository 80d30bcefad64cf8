package taskstore

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redislink"
)

// Every command that a script or the backend itself sends is tried by Check.
func TestCheckTriesEveryCommand(t *testing.T) {
	n := checkedNode{b: new(RedisBackend), Node: redislink.Node{Addr: "a Cluster's"}}
	n.b.scripts = newScripts(0, "PUBLISH", "", true)
	n.b.opts.MinReplicas = 1
	var tried []string
	for _, probe := range n.probes("key") {
		tried = append(tried, probe[0].(string))
	}
	tried = append(tried, "publish") // in probeHints
	used := map[string]bool{"hmget": true}
	for _, m := range regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`).FindAllStringSubmatch(allLua(n.b.scripts), -1) {
		used[strings.ToLower(m[1])] = true
	}
	require.Greater(t, len(used), 12, "the scripts were found")
	for command := range used {
		assert.Contains(t, tried, command)
	}
}

// allLua returns the scripts, one behind the other.
func allLua(s scripts) string {
	var text strings.Builder
	for _, script := range s.all() {
		text.WriteString(script.Source)
	}
	return text.String()
}

func TestCheckJudgesSettings(t *testing.T) {
	const healthy = "redis_version:7.0.15\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\n"
	for name, c := range map[string]struct {
		info        string // replaces the answer of the healthy server
		config      string
		refused     bool
		minReplicas int
		says        string // of the only Finding
		unknown     bool
		unusable    bool
	}{
		"Healthy":           {config: "always"},
		"AOFEverySecond":    {config: "everysec", says: "appendfsync is everysec"},
		"AOFNever":          {config: "no", says: "appendfsync is no"},
		"AOFNotKnown":       {refused: true, says: "appendfsync is unknown", unknown: true},
		"NoAOF":             {info: "aof_enabled:0", config: "3600 1 300 100", says: "save is 3600 1 300 100"},
		"NoPersistence":     {info: "aof_enabled:0", says: "save is empty"},
		"SaveNotKnown":      {info: "aof_enabled:0", refused: true, says: "save is unknown", unknown: true},
		"AllKeysAreEvicted": {info: "maxmemory_policy:allkeys-lru", config: "always", says: "maxmemory-policy is allkeys-lru"},
		"TTLsAreEvicted":    {info: "maxmemory_policy:volatile-ttl", config: "always", says: "maxmemory-policy is volatile-ttl"},
		"NoLimitNoEviction": {info: "maxmemory:0\r\nmaxmemory_policy:allkeys-lru", config: "always"},
		"Redis6.0":          {info: "redis_version:6.0.16", config: "always", says: "version is 6.0.16"},
		"Redis5":            {info: "redis_version:5.0.9", config: "always", says: "version is 5.0.9"},
		"Redis6.2":          {info: "redis_version:6.2.14", config: "always"},
		"Redis8":            {info: "redis_version:8.0.0", config: "always"},
		"Valkey":            {info: "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0", config: "always"},
		"Replica":           {info: "role:slave", config: "always", says: "the server is a replica", unusable: true},
		"EnoughReplicas": {
			info:   "slave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\nslave1:ip=127.0.0.1,port=2,state=online,offset=1,lag=0",
			config: "always", minReplicas: 2,
		},
		"TooFewReplicas": {
			info:   "slave0:ip=127.0.0.1,port=1,state=online,offset=1,lag=0\r\nslave1:ip=127.0.0.1,port=2,state=wait_bgsave,offset=1,lag=0",
			config: "always", minReplicas: 2, says: "replicas in sync: 1, MinReplicas: 2", unusable: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := checkedNode{b: new(RedisBackend)}
			n.b.opts.MinReplicas = c.minReplicas
			info := redislink.ParseInfo("# Server\r\n" + healthy + c.info)
			n.checkVersion(info)
			n.checkEviction(info)
			n.checkReplicas(info)
			n.checkPersistence(info, c.config, !c.refused)
			if c.says == "" {
				assert.Empty(t, n.findings)
				return
			}
			require.Len(t, n.findings, 1)
			assert.Contains(t, n.findings[0].String(), c.says)
			assert.Equal(t, c.unknown, n.findings[0].Unknown)
			assert.Equal(t, c.unusable, n.findings[0].Unusable)
		})
	}
}

// Clocks are compared at one instant, whenever they were asked, and the time that
// it took to ask is no difference.
func TestCheckComparesClocks(t *testing.T) {
	now := time.Now()
	node := func(addr string, asked, ahead, slack time.Duration) *checkedNode {
		return &checkedNode{Node: redislink.Node{Addr: addr}, clock: clockReading{
			server: now.Add(asked + ahead), local: now.Add(asked), slack: slack,
		}}
	}
	findings := clockFindings([]*checkedNode{
		{Node: redislink.Node{Addr: "silent"}},
		node("first", 0, 10*time.Hour, time.Millisecond),
		node("same", time.Minute, 10*time.Hour, time.Millisecond),
		node("close", 0, 10*time.Hour+900*time.Millisecond, 0),
		node("slow", 0, 10*time.Hour-2*time.Second, 3*time.Second),
		node("ahead", 0, 10*time.Hour+1500*time.Millisecond, time.Millisecond),
		node("behind", time.Second, 0, time.Millisecond),
	})
	var nodes []string
	for _, f := range findings {
		nodes = append(nodes, f.Node)
	}
	assert.Equal(t, []string{"ahead", "behind"}, nodes)
	assert.True(t, slices.ContainsFunc(findings, func(f Finding) bool { return strings.Contains(f.Setting, "differs by 10h0m0s from that of first") }))
}

// A slot that is open is found on the node that says it of itself.
func TestCheckFindsOpenSlots(t *testing.T) {
	const nodes = "07c3 127.0.0.1:30004@31004,host slave e7d1 0 1426 4 connected\n" +
		"67ed 127.0.0.1:30002@31002 master - 0 1426 2 connected 5461-10922 [1->-07c3]\n" +
		"e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-92 94 [93->-67ed] [8000-<-67ed]\n"
	assert.Equal(t, []string{"93", "8000"}, openSlots(nodes))
	assert.Empty(t, openSlots(strings.ReplaceAll(nodes, "[", "")))
	assert.Empty(t, openSlots(""))
	assert.Equal(t, "1, 2, 3, 4, 5 and 2 more", summary([]string{"1", "2", "3", "4", "5", "6", "7"}))
}
