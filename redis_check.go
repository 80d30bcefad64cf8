package taskstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskstore/taskstore/internal/redislink"
)

// A Finding is a setting of a live server that breaks a promise of this package, or will
// break it before long. It is safe to log.
type Finding struct {
	// Node is the address of the server, as its Cluster announces it. Outside a
	// Cluster, with only one server to ask, it is empty.
	Node string
	// Setting is the setting as found.
	Setting string
	// Breaks is the consequence.
	Breaks string
	// Remedy is the change to make.
	Remedy string
	// Unknown says that the server could not be asked: all may be well.
	Unknown bool
	// Unusable says that calls fail because of it.
	Unusable bool
}

// String returns the finding in one line.
func (f Finding) String() string {
	s := f.Setting + ": " + f.Breaks + "; " + f.Remedy
	if f.Node != "" {
		s = f.Node + ": " + s
	}
	return s
}

// Check looks for settings of the servers that break a promise: a policy that evicts,
// missing persistence, fewer replicas than MinReplicas, a version that is too old,
// commands, keys and channels that the user may not use, clocks that differ, a slot of a
// Cluster whose move was begun and has not ended. An empty list is the best answer. It
// is meant for the start of a program, and cheap enough to repeat now and then.
//
// In a Cluster it asks every node, replicas too: any of them may be a master
// tomorrow. Elsewhere it asks the one server that it is connected to; of the
// replicas behind a Sentinel it sees only how many are in sync.
//
// It also creates, updates, reads, lists and deletes one record of an owner of its
// own, so that it notices a server that takes no writes. If the removal fails, the
// record expires within a minute.
//
// A setting that the server does not let the user read is a Finding with Unknown set.
// Under the rights that the README recommends these are save and appendfsync: CONFIG
// GET, which returns them, would return passwords too.
//
// A master that cannot be asked, or that fails a call on the record, is an error
// and not a Finding. So is a ctx that is done. The findings until then come with the
// error.
func (b *RedisBackend) Check(ctx context.Context) ([]Finding, error) {
	if err := b.usable(ctx); err != nil {
		return nil, err
	}
	servers, err := b.link.Nodes(ctx)
	if err != nil {
		return nil, failure("check", Key{}, b.link.Ended(err))
	}
	var nodes []*checkedNode
	for _, s := range servers {
		nodes = append(nodes, &checkedNode{b: b, Node: s})
	}
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { n.err = n.inspect(ctx) })
	}
	wg.Wait()
	var findings []Finding
	for _, n := range nodes {
		if n.err != nil && n.Replica && ctx.Err() == nil {
			n.unknown("it is a replica that does not answer", "its settings are unknown, and it may become a master", "bring it back, or remove it from the deployment")
		} else if n.err != nil {
			return findings, failure("check", Key{}, b.link.Ended(n.err))
		}
		findings = append(findings, n.findings...)
	}
	findings = append(findings, clockFindings(nodes)...)
	if slices.ContainsFunc(findings, func(f Finding) bool { return f.Unusable }) {
		return findings, nil
	}
	return findings, b.tryVerbs(ctx)
}

// A checkedNode is a server and the findings about it.
type checkedNode struct {
	redislink.Node
	b        *RedisBackend
	findings []Finding
	clock    clockReading
	err      error
}

func (n *checkedNode) add(setting, breaks, remedy string) {
	n.findings = append(n.findings, Finding{Node: n.Addr, Setting: setting, Breaks: breaks, Remedy: remedy})
}

// fatal adds a finding that makes calls fail.
func (n *checkedNode) fatal(setting, breaks, remedy string) {
	n.findings = append(n.findings, Finding{Node: n.Addr, Setting: setting, Breaks: breaks, Remedy: remedy, Unusable: true})
}

func (n *checkedNode) unknown(setting, breaks, remedy string) {
	n.findings = append(n.findings, Finding{Node: n.Addr, Setting: setting, Breaks: breaks, Remedy: remedy, Unknown: true})
}

// inspect makes all checks of the server.
func (n *checkedNode) inspect(ctx context.Context) error {
	_, err := redislink.Detach(ctx, func() (struct{}, error) {
		if err := n.inspectRights(ctx); err != nil {
			return struct{}{}, err
		}
		if err := n.inspectClock(ctx); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, n.inspectSettings(ctx)
	})
	return err
}

// inspectSettings reads INFO and, for the setting that INFO lacks, the
// configuration.
func (n *checkedNode) inspectSettings(ctx context.Context) error {
	info, err := n.Info(ctx)
	if redislink.Refused(err) {
		n.unknown("INFO is refused", "eviction, persistence, replicas and version are unknown", "grant +info")
		return n.inspectSlots(ctx)
	}
	if err != nil {
		return err
	}
	n.checkVersion(info)
	n.checkMode(info)
	n.checkEviction(info)
	n.checkReplicas(info)
	setting := "save" // it matters without an AOF
	if info["aof_enabled"] == "1" {
		setting = "appendfsync"
	}
	value, told, err := n.Setting(ctx, setting)
	if err != nil && !redislink.Refused(err) {
		return err
	}
	n.checkPersistence(info, value, told)
	return n.inspectSlots(ctx)
}

func (n *checkedNode) checkVersion(info map[string]string) {
	version := info["redis_version"] // Valkey has it too, for its clients
	if tooOld(version) {
		n.add("the version is "+version, "taskstore is untested on it, and it lacks "+missing(version), "upgrade to Redis "+leastVersion+", Valkey 7.2 or later")
	}
}

// checkMode finds a client for one server whose server is a node of a Cluster.
func (n *checkedNode) checkMode(info map[string]string) {
	if n.Addr == "" && info["cluster_enabled"] == "1" {
		n.fatal("the server is a node of a Cluster, and the client is for one server",
			"calls fail for owners on other nodes", "use a Cluster client, or OpenRedis")
	}
}

// checkEviction looks at the policy if there is a limit: without maxmemory the
// server evicts no key under any policy.
func (n *checkedNode) checkEviction(info map[string]string) {
	policy := info["maxmemory_policy"]
	if policy == "" || policy == "noeviction" || info["maxmemory"] == "0" {
		return
	}
	n.add("maxmemory-policy is "+policy+", and maxmemory is set",
		"the server evicts records when memory is short; an evicted index loses its whole list", "set maxmemory-policy to noeviction")
}

// checkPersistence takes the value of appendfsync if there is an AOF, else that
// of save.
func (n *checkedNode) checkPersistence(info map[string]string, value string, told bool) {
	aof := info["aof_enabled"] == "1"
	const remedy = "set appendonly to yes, and appendfsync to everysec (a crash loses about a second) or always (a crash loses no acknowledged write)"
	switch {
	case aof && !told:
		n.unknown("appendfsync is unknown", "if it is no, the crash of a machine loses the writes that its kernel has not flushed", "make sure that it is everysec or always")
	case aof && value == "no":
		n.add("appendfsync is no", "the crash of a machine loses the writes that its kernel has not flushed, about half a minute", "set it to everysec (a crash loses about a second) or always (a crash loses no acknowledged write)")
	case aof && value == "everysec":
		n.add("appendfsync is everysec", "the crash of a machine loses about the last second of acknowledged writes", "set it to always if every acknowledged write has to survive; each write then waits for the disk")
	case aof:
	case !told:
		n.unknown("appendonly is no, and save is unknown", "a crash loses all writes since the latest snapshot, or every record", remedy)
	case value == "":
		n.add("appendonly is no, and save is empty", "a restart loses every record", remedy)
	default:
		n.add("appendonly is no, and save is "+value, "a crash loses all writes since the latest snapshot", remedy)
	}
}

// checkReplicas counts the replicas that a write can wait for.
func (n *checkedNode) checkReplicas(info map[string]string) {
	if n.Replica {
		return
	}
	if info["role"] == "slave" {
		n.fatal("the server is a replica", "it takes no writes", "name its master, its Sentinels or its Cluster")
		return
	}
	online := 0
	for name, value := range info {
		if strings.HasPrefix(name, "slave") && strings.Contains(value, ",state=online,") {
			online++
		}
	}
	if want := n.b.opts.MinReplicas; online < want {
		n.fatal(fmt.Sprintf("replicas in sync: %d, MinReplicas: %d", online, want),
			"writes end with ErrOutcomeUnknown", "add replicas, or bring the missing ones back")
	}
}

// A clockReading is the time that a server returned.
type clockReading struct {
	server time.Time
	local  time.Time     // of the reading, by the process's clock
	slack  time.Duration // the possible error of local
}

func (n *checkedNode) inspectClock(ctx context.Context) error {
	from := n.b.link.Clock.Local()
	said, err := n.Time(ctx)
	if redislink.Refused(err) {
		return nil // inspectRights reports it
	}
	took := n.b.link.Clock.Local().Sub(from)
	n.clock = clockReading{server: said, local: from.Add(took / 2), slack: took/2 + time.Millisecond}
	return err
}

// maxClockDifference is the greatest difference between the clocks of a Cluster without
// a Finding. It is far more than that of synchronised servers, and less than any
// sensible time to live.
const maxClockDifference = time.Second

// clockFindings compares the clocks of a Cluster with that of its first node.
func clockFindings(nodes []*checkedNode) (findings []Finding) {
	var first *checkedNode
	for _, n := range nodes {
		if n.clock.local.IsZero() {
			continue
		}
		if first == nil {
			first = n
			continue
		}
		ahead := n.clock.server.Sub(first.clock.server) - n.clock.local.Sub(first.clock.local)
		if ahead.Abs()-n.clock.slack-first.clock.slack > maxClockDifference {
			findings = append(findings, Finding{
				Node:    n.Addr,
				Setting: fmt.Sprintf("its clock differs by %v from that of %s", ahead.Abs().Round(time.Millisecond), first.Addr),
				Breaks:  "records expire too early or too late",
				Remedy:  "keep the clocks in sync, with NTP",
			})
		}
	}
	return findings
}

// inspectSlots finds the open slots of a Cluster's node: slots whose move to or from it
// was begun and has not ended. An interrupted move stays open until it is mended.
func (n *checkedNode) inspectSlots(ctx context.Context) error {
	if n.Addr == "" || n.Replica {
		return nil
	}
	text, err := n.ClusterNodes(ctx)
	if redislink.Refused(err) {
		n.unknown("CLUSTER NODES is refused", "open slots are unknown", "grant +cluster|nodes")
		return nil
	}
	if redislink.Said(err, "ERR This instance has cluster support") { // disabled: its Sentinels are taken for a Cluster
		return nil
	}
	if err != nil {
		return err
	}
	if slots := openSlots(text); len(slots) > 0 {
		n.add("slots are still being moved: "+summary(slots),
			"creates and deletes of owners in these slots retry while keys move one by one, and fail after about 20 seconds; updates succeed",
			"let the migration finish, or repair an interrupted one with redis-cli --cluster fix; Valkey 9 moves whole slots with CLUSTER MIGRATESLOTS")
	}
	return nil
}

// openSlots returns the open slots of the node that answered CLUSTER NODES with text:
// "[<slot>->-<node>]" is moving to that node, "[<slot>-<-<node>]" is moving from it.
func openSlots(text string) (slots []string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.Contains(fields[2], "myself") {
			continue
		}
		for _, field := range fields[3:] {
			if slot, _, moves := strings.Cut(field, "-"); moves && strings.HasPrefix(slot, "[") {
				slots = append(slots, slot[1:])
			}
		}
	}
	return slots
}

// summary joins the first five and counts the others.
func summary(slots []string) string {
	const most = 5
	if len(slots) <= most {
		return strings.Join(slots, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(slots[:most], ", "), len(slots)-most)
}
