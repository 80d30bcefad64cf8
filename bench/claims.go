package main

import (
	"fmt"
	"math"
	"strings"
)

// A claim is a limit for a figure of contestant a, or for its ratio to that of b: the
// promises of this repository about speed.
type claim struct {
	text        string
	most        bool // the limit is the most; otherwise the least
	limit       float64
	sheet, keys string
	a, b        string // "first" and "last" are those contestants; with an empty b the figure is a's alone
	column      string // empty: the first
}

var claims = []claim{
	{"get, 1 caller: rate, of go-redis sending the same", false, 0.9, "latency", "get,1024,1", ours, raw, ""},
	{"update, 1 caller: rate, of go-redis sending the same", false, 0.9, "latency", "update,1024,1", ours, raw, ""},
	{"get, 64 callers: rate, of go-redis sending the same", false, 0.9, "servers", "get,1024,64", ours, raw, ""},
	{"update, 64 callers: rate, of go-redis sending the same", false, 0.9, "servers", "update,1024,64", ours, raw, ""},
	{"get, 64 callers, AutoPipeline: rate, of go-redis's", false, 0.9, "servers", "get,1024,64", oursPiped, rawPiped, ""},
	{"update, 64 callers, AutoPipeline: rate, of go-redis's", false, 0.9, "servers", "update,1024,64", oursPiped, rawPiped, ""},
	{"memory, get: allocations (0.05 for the process)", true, 1.05, "memory", "get,1024,1", oursInMemory, "", "allocations_per_op"},
	{"list of 1,000 tasks: time of the model, of ours", false, 15, "lists", "list,1000", model, ours, ""},
	{"list of 100,000 tasks: time of the model, of ours", false, 12, "lists", "list,100000", model, ours, ""},
	{"create under a limit: the server's time, most tasks to least", true, 1.5, "growth", "redis,tasks of one owner,create under a limit", "last", "first", ""},
	{"memory, list of one owner: time, most owners to one", true, 1.5, "growth", "memory,owners,list of one owner", "last", "first", ""},
	{"hint, p99: of a bare PUBLISH and SUBSCRIBE", true, 1.5, "hints", "1000", ours, bare, ""},
	{"tasks/get, in memory, 1 caller: time, of a constant's", true, 1.5, "stack", "tasks/get,1", constantServer, stackMemory, ""},
	{"tasks/get, in Redis, 1 caller: time, of a constant's", true, 1.5, "stack", "tasks/get,1", constantServer, stackRedis, ""},
	{"tasks/get, in memory, 64 callers: time, of a constant's", true, 1.5, "stack", "tasks/get,64", constantServer, stackMemory, ""},
	{"tasks/get, in Redis, 64 callers: time, of a constant's", true, 1.5, "stack", "tasks/get,64", constantServer, stackRedis, ""},
	{"tools/call to its task, 16 callers: rate in Redis, of memory's", false, 0.7, "stack", "tools/call to its task,16", stackRedis, stackMemory, ""},
	{"tools/call to its task, 64 callers: rate in Redis, of memory's", false, 0.7, "stack", "tools/call to its task,64", stackRedis, stackMemory, ""},
}

// judged is a claim with its measurement.
type judged struct {
	claim
	measured Stat
}

// judge measures the claims that the run has figures for.
func (r *report) judge() (all []judged) {
	for _, c := range claims {
		s := r.sheet(c.sheet)
		result := s.find(strings.Split(c.keys, ",")...)
		if len(result.Names) == 0 {
			continue
		}
		for _, name := range []*string{&c.a, &c.b} {
			switch *name {
			case "first":
				*name = result.Names[0]
			case "last":
				*name = result.Names[len(result.Names)-1]
			}
		}
		m := s.columns[0].metric
		if c.column != "" {
			m = s.metric(c.column)
		}
		measured := result.stat(c.a, m)
		if c.b != "" {
			measured = result.ratio(c.a, c.b, m)
		}
		all = append(all, judged{c, measured})
	}
	all = append(all, r.worst("on Redis, update", "servers", workUpdate, ours, onRedis...)...)
	all = append(all, r.worst("on Redis, list", "lists", workList, ours, onRedis...)...)
	for _, work := range []string{workGet, workUpdate} {
		all = append(all, r.worst("memory, "+work, "memory", work, oursInMemory, "NATS KV, in process", "a2a-go, memory")...)
	}
	return all
}

// onRedis are the peers on Redis.
var onRedis = []string{model, "valkeyrie's commands", "asynq"}

// worst claims that a is at least as fast as all peers in all contests of a work. The contest
// and the peer with the smallest ratio stand for all.
func (r *report) worst(title, file, work, a string, peers ...string) []judged {
	smallest, at := Stat{Median: math.Inf(1)}, ""
	for _, result := range r.sheet(file).results {
		for _, peer := range peers {
			ratio := result.ratio(a, peer, value)
			if work == workList { // of times, not rates
				ratio = result.ratio(peer, a, value)
			}
			if result.Keys[0] == work && ratio.Median < smallest.Median {
				smallest, at = ratio, fmt.Sprintf("%s, %s", strings.Join(result.Keys[1:], " B, "), peer)
			}
		}
	}
	if at == "" {
		return nil
	}
	return []judged{{claim{text: fmt.Sprintf("%s: speed, of the fastest peer (%s)", title, at), limit: 1}, smallest}}
}

// The verdicts on a claim.
const (
	holds  = "holds"
	within = "within the quartiles" // the median is beyond the limit, a quartile within
	fails  = "**fails**"
)

func (j judged) verdict() string {
	keeps, nearest := func(v float64) bool { return v >= j.limit }, j.measured.Q3
	if j.most {
		keeps, nearest = func(v float64) bool { return v <= j.limit }, j.measured.Q1
	}
	switch {
	case keeps(j.measured.Median):
		return holds
	case keeps(nearest):
		return within
	default: // also without any measurement
		return fails
	}
}

// verdicts counts the claims, and tells each.
func (r *report) verdicts() string {
	all := r.judge()
	count := make(map[string]int)
	rows := [][]string{{"claim", "limit", "measured", "quartiles", "verdict"}}
	for _, j := range all {
		sign := "≥ "
		if j.most {
			sign = "≤ "
		}
		count[j.verdict()]++
		rows = append(rows, []string{j.text, sign + figure(j.limit), figure(j.measured.Median), figure(j.measured.Q1) + " to " + figure(j.measured.Q3), j.verdict()})
	}
	return fmt.Sprintf("Of %d claims %d hold, %d are missed within the quartiles of the measurement, and %d fail.\n\n%s",
		len(all), count[holds], count[within], count[fails], markdown(rows))
}
