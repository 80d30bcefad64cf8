package taskstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/redis/go-redis/v9"
)

// OpenRedis connects to the server that rawURL names, makes sure that it can be
// used, and returns a backend that owns the connections: Close closes them.
//
//	redis://user:password@host:6379/0                        one server, or Cluster
//	rediss://…                                               the same over TLS
//	unix:///path/to/socket                                   one server
//	redis://h1:7000?addr=h2:7001&addr=h3:7002                Cluster
//	redis://h1:26379?master_name=mymaster&addr=h2:26379      Sentinel
//
// A server that says it runs in cluster mode (one configuration endpoint of a
// managed service, say) gets a Cluster client by itself. For Sentinel the user
// and password before the host are the Sentinels'; those of the servers are the
// parameters username and password. The other parameters are those of go-redis:
// dial_timeout, read_timeout, pool_size and so on. Characters with a meaning in
// URLs must be percent-encoded in names and passwords.
//
// A URL that cannot be used gives an error that matches [ErrInvalidArgument], a
// server that cannot a [*ConnectError] that says why: it does not answer, refuses
// the password, is a replica or is no Redis. Neither holds the password.
func OpenRedis(ctx context.Context, rawURL string, opts *RedisOptions) (*RedisBackend, error) {
	target, err := parseRedisURL(rawURL)
	if err != nil {
		return nil, err
	}
	client := target.open()
	mode, err := probe(ctx, client, target)
	if err == nil && mode == "cluster" && target.single != nil {
		// One address of a Cluster: the client must learn the others.
		_ = client.Close()
		target = target.asCluster()
		client = target.open()
		_, err = probe(ctx, client, target)
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	b, err := NewRedisBackend(client, opts)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	b.owned = io.Closer(client)
	return b, nil
}

// A redisTarget is a parsed URL: one of its options is set.
type redisTarget struct {
	addr     string // for messages
	single   *redis.Options
	cluster  *redis.ClusterOptions
	sentinel *redis.FailoverOptions
}

func (t redisTarget) open() redis.UniversalClient {
	switch {
	case t.cluster != nil:
		return redis.NewClusterClient(t.cluster)
	case t.sentinel != nil:
		return redis.NewFailoverClient(t.sentinel)
	}
	return redis.NewClient(t.single)
}

func (t redisTarget) asCluster() redisTarget {
	o := t.single
	return redisTarget{addr: t.addr, cluster: &redis.ClusterOptions{
		Addrs:                 []string{o.Addr},
		ClientName:            o.ClientName,
		Username:              o.Username,
		Password:              o.Password,
		Protocol:              o.Protocol,
		MaxRetries:            o.MaxRetries,
		MinRetryBackoff:       o.MinRetryBackoff,
		MaxRetryBackoff:       o.MaxRetryBackoff,
		DialTimeout:           o.DialTimeout,
		ReadTimeout:           o.ReadTimeout,
		WriteTimeout:          o.WriteTimeout,
		ContextTimeoutEnabled: true,
		PoolFIFO:              o.PoolFIFO,
		PoolSize:              o.PoolSize,
		PoolTimeout:           o.PoolTimeout,
		MinIdleConns:          o.MinIdleConns,
		MaxIdleConns:          o.MaxIdleConns,
		MaxActiveConns:        o.MaxActiveConns,
		ConnMaxIdleTime:       o.ConnMaxIdleTime,
		ConnMaxLifetime:       o.ConnMaxLifetime,
		TLSConfig:             o.TLSConfig,
	}}
}

// parseRedisURL says what is wrong with a URL without repeating any of it that
// could be part of a password: the errors of net/url print the whole.
func parseRedisURL(rawURL string) (redisTarget, error) {
	bad := func(reason string) (redisTarget, error) {
		return redisTarget{}, &ArgumentError{Argument: "Redis URL", Reason: reason}
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return bad("it cannot be parsed; it should look like redis://host:6379/0, with special characters in user name and password percent-encoded")
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
	case "":
		return bad("it has no scheme; it should start with redis://, rediss:// or unix://")
	default:
		return bad("its scheme is not redis, rediss or unix; it should look like redis://host:6379/0")
	}
	if strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") && u.Scheme != "unix" || u.Fragment != "" {
		return bad("a special character in user name or password must be percent-encoded, such as %2F for a slash")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("its parameters cannot be parsed; special characters in them must be percent-encoded")
	}
	for _, name := range []string{"read_only", "replica_only", "route_by_latency", "route_randomly", "use_disconnected_replicas"} {
		if query.Has(name) {
			return bad("the parameter " + name + " would read from replicas, which lag behind; leave it out")
		}
	}
	t := redisTarget{addr: u.Host}
	if u.Scheme == "unix" {
		t.addr = u.Path
	}
	sentinel, cluster := query.Has("master_name"), query.Has("addr")
	switch {
	case sentinel:
		if query.Get("master_name") == "" {
			return bad("master_name is empty; it should be the name that the Sentinels know the master by")
		}
		t.sentinel, err = redis.ParseFailoverURL(rawURL)
	case cluster:
		if strings.Trim(u.Path, "/0") != "" {
			return bad("a Cluster has only database 0")
		}
		u.Path = ""
		t.cluster, err = redis.ParseClusterURL(u.String())
	default:
		t.single, err = redis.ParseURL(rawURL)
	}
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "redis: ")
		if strings.HasPrefix(reason, "invalid URL path") || strings.HasPrefix(reason, "invalid database") {
			reason = "its path should be the number of a database"
		}
		return bad(reason)
	}
	// So that a call need not wait for the client's own timeouts when its ctx ends.
	switch {
	case t.sentinel != nil:
		t.sentinel.ContextTimeoutEnabled = true
	case t.cluster != nil:
		t.cluster.ContextTimeoutEnabled = true
	default:
		t.single.ContextTimeoutEnabled = true
	}
	return t, nil
}

// probe asks the server what it is.
func probe(ctx context.Context, client redis.UniversalClient, t redisTarget) (mode string, err error) {
	hello := redis.NewMapStringInterfaceCmd(ctx, "hello")
	_, err = within(ctx, func() (struct{}, error) { return struct{}{}, client.Process(ctx, hello) })
	if err != nil {
		return "", t.unusable(err)
	}
	says := hello.Val()
	mode, _ = says["mode"].(string)
	role, _ := says["role"].(string)
	switch {
	case mode == "sentinel":
		return "", &ConnectError{Addr: t.addr, Reason: "it is a Sentinel; add master_name to the URL"}
	case t.cluster == nil && mode != "cluster" && role != "master":
		return "", &ConnectError{Addr: t.addr, Reason: "it is a replica, which cannot be written to; name its master, or the Sentinels with master_name"}
	case t.cluster != nil && mode != "cluster":
		return "", &ConnectError{Addr: t.addr, Reason: "it does not run in cluster mode; leave out the parameter addr"}
	}
	return mode, nil
}

// unusable says why a server could not be asked.
func (t redisTarget) unusable(err error) error {
	err = discreet(err)
	reason := "no answer that Redis would give; is it a Redis server, and does it use TLS?"
	var dial *net.OpError
	var dns *net.DNSError
	var record tls.RecordHeaderError
	var unknownCA x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var alert *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		reason = "no answer in time"
		switch {
		case t.sentinel != nil:
			reason += " from a Sentinel, or from the master that they name"
		case t.single != nil && t.single.TLSConfig != nil, t.cluster != nil && t.cluster.TLSConfig != nil:
			reason += "; is it a TLS port?"
		}
	case serverSaid(err, "WRONGPASS"), serverSaid(err, "NOAUTH"), serverSaid(err, "ERR AUTH"):
		reason = "it refuses the user name or password"
	case serverSaid(err, "NOPERM"):
		reason = "it does not permit this user to ask what it is; grant +hello"
	case errors.As(err, &record), errors.As(err, &unknownCA), errors.As(err, &hostname),
		errors.As(err, &alert) && alert.Op == "remote error":
		reason = "TLS fails"
	case errors.As(err, &dns):
		reason = "its name is unknown"
	case errors.As(err, &dial) && dial.Op == "dial":
		reason = "it cannot be reached"
		if t.sentinel != nil {
			reason = "no Sentinel, or not the master that they name, can be reached"
		}
	case t.sentinel != nil && strings.Contains(err.Error(), "sentinel"):
		reason = "the Sentinels do not name a master of that name, or cannot be reached"
	case errors.As(err, new(redis.Error)):
		reason = "it refuses"
	}
	return &ConnectError{Addr: t.addr, Reason: reason, Err: err}
}
