package redislink

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Node is one server, for questions that change no data. Nodes are equal if their server
// is the same. Its methods wait as the client does; see [Detach].
type Node struct {
	Addr    string // as its Cluster announces it; empty outside a Cluster
	Replica bool   // in a Cluster

	link   *Link
	client *redis.Client // nil outside a Cluster: the link's client is used
}

func (n Node) commands() commander {
	if n.client == nil {
		return n.link.client
	}
	return n.client
}

// Nodes returns the nodes of a Cluster in the order of their addresses, or the only server.
func (l *Link) Nodes(ctx context.Context) ([]Node, error) {
	if l.cluster == nil {
		return []Node{{link: l}}, nil
	}
	nodes, err := Detach(ctx, func() ([]Node, error) {
		var mu sync.Mutex
		var nodes []Node
		add := func(replica bool) func(context.Context, *redis.Client) error {
			return func(_ context.Context, c *redis.Client) error {
				mu.Lock()
				defer mu.Unlock()
				nodes = append(nodes, Node{Addr: c.Options().Addr, Replica: replica, link: l, client: c})
				return nil
			}
		}
		err := errors.Join(l.cluster.ForEachMaster(ctx, add(false)), l.cluster.ForEachSlave(ctx, add(true)))
		return nodes, err
	})
	if err == nil && len(nodes) == 0 {
		err = errors.New("the Cluster has no masters")
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Addr, b.Addr) })
	return nodes, err
}

// NodeOf returns the node that has a key. It asks that node, because the client's slot map
// may be out of date.
func (l *Link) NodeOf(ctx context.Context, key string) (Node, error) {
	if l.cluster == nil {
		return Node{link: l}, nil
	}
	client, err := l.cluster.MasterForKey(ctx, key)
	if err != nil {
		return Node{}, err
	}
	_, err = Detach(ctx, func() (struct{}, error) {
		return struct{}{}, client.Process(ctx, once{redis.NewIntCmd(ctx, "zcard", key)})
	})
	if err != nil && (Said(err, "MOVED") || Answer(err) == "") {
		return Node{}, err
	}
	return Node{Addr: client.Options().Addr, link: l, client: client}, nil // any other refusal shows later
}

// Sole reports whether n is the only server.
func (n Node) Sole() bool { return n.client == nil }

// Publish publishes an empty message on the path that writes take, and returns how many of
// the server's clients received it. It is a question, so the message may come twice.
func (l *Link) Publish(ctx context.Context, channel string, sharded bool) (int64, error) {
	command := "publish"
	if sharded {
		command = "spublish"
	}
	return Detach(ctx, func() (int64, error) {
		return ask(ctx, l.client, redis.NewIntCmd(ctx, command, channel, "")).Result()
	})
}

// Info asks for INFO.
func (n Node) Info(ctx context.Context) (map[string]string, error) {
	text, err := ask(ctx, n.commands(), redis.NewStringCmd(ctx, "info")).Result()
	if err != nil {
		return nil, err
	}
	return ParseInfo(text), nil
}

// Setting asks for a setting. told is false if the server does not tell it.
func (n Node) Setting(ctx context.Context, name string) (value string, told bool, err error) {
	config, err := ask(ctx, n.commands(), settingQuestion(ctx, name)).Result()
	value, told = config[name]
	return value, told, err
}

func settingQuestion(ctx context.Context, name string) *redis.MapStringStringCmd {
	return redis.NewMapStringStringCmd(ctx, "config", "get", name)
}

// Time asks for the server's clock.
func (n Node) Time(ctx context.Context) (time.Time, error) {
	return ask(ctx, n.commands(), redis.NewTimeCmd(ctx, "time")).Result()
}

// ClusterNodes asks for CLUSTER NODES.
func (n Node) ClusterNodes(ctx context.Context) (string, error) {
	return ask(ctx, n.commands(), redis.NewStringCmd(ctx, "cluster", "nodes")).Result()
}

// Try sends commands in one round trip and returns the outcome of each. They are questions
// that change no data; see question.go. Its error says that the connection was refused and
// no command was sent.
func (n Node) Try(ctx context.Context, commands [][]any) (outcomes []error, err error) {
	var cmds []redis.Cmder
	for _, args := range commands {
		cmds = append(cmds, redis.NewCmd(ctx, args...))
	}
	if err := askTogether(ctx, n.commands(), cmds...); err != nil && !repliesSay(cmds, err) {
		return nil, err
	}
	for _, cmd := range cmds {
		outcomes = append(outcomes, cmd.Err())
	}
	return outcomes, nil
}

// Publish publishes an empty message by that command.
func (n Node) Publish(ctx context.Context, command, channel string) error {
	cmd := redis.NewCmd(ctx, command, channel, "")
	_ = n.commands().Process(ctx, once{cmd})
	return cmd.Err()
}
