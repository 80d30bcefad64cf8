package taskstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/taskstore/taskstore/internal/redislink"
)

// OpenRedis connects to the server that rawURL names, checks that it can be used,
// and returns a backend that owns the connections: Close closes them.
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
// parameters username and password. The other parameters are those of go-redis, on
// every topology: dial_timeout, read_timeout, pool_size and so on. Characters with a
// meaning in URLs must be percent-encoded in names and passwords. A Cluster has only
// database 0.
//
// OpenRedis asks the server for its kind by HELLO, and by INFO if the server does not
// know HELLO without arguments or does not permit it. A server that does not describe
// itself counts as a single master.
//
// A URL that cannot be used gives an error that matches [ErrInvalidArgument]; a server
// that cannot be used gives a [*ConnectError] with the reason: it does not answer,
// refuses the password, is a replica, is too old or is not Redis. Of the URL both hold
// only the address and the names of parameters, and so no password.
func OpenRedis(ctx context.Context, rawURL string, opts *RedisOptions) (*RedisBackend, error) {
	target, err := parseRedisURL(rawURL)
	if err != nil {
		return nil, err
	}
	client := target.open()
	mode, err := target.mode(redislink.Ask(ctx, client))
	if err == nil && mode == "cluster" && target.single != nil {
		// One address of a Cluster: the client must learn the others.
		_ = client.Close()
		if target, err = target.asCluster(); err != nil {
			return nil, err
		}
		client = target.open()
		_, err = target.mode(redislink.Ask(ctx, client))
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
	b.link.Own()
	return b, nil
}

// mode turns the server's description of itself, or the error of asking for it, into its
// kind: "cluster", "standalone", or "" if the description omits it.
func (t redisTarget) mode(says redislink.Portrait, err error) (mode string, _ error) {
	if err != nil {
		return "", t.unusable(err)
	}
	mode = says.Mode
	switch {
	case mode == "sentinel":
		return "", &ConnectError{Store: "Redis", Addr: t.addr, Reason: "it is a Sentinel; add master_name to the URL"}
	case tooOld(says.Version):
		return "", &ConnectError{Store: "Redis", Addr: t.addr, Reason: "it is version " + says.Version + ", and lacks " + missing(says.Version) +
			"; taskstore is untested on it; upgrade to Redis " + leastVersion + ", Valkey 7.2 or later"}
	case t.cluster == nil && mode != "cluster" && says.Role != "" && says.Role != "master":
		return "", &ConnectError{Store: "Redis", Addr: t.addr, Reason: "it is a replica, which takes no writes; name its master, or its Sentinels with master_name"}
	case t.cluster != nil && mode != "" && mode != "cluster":
		return "", &ConnectError{Store: "Redis", Addr: t.addr, Reason: "it does not run in cluster mode; leave out the parameter addr"}
	}
	return mode, nil
}

// leastVersion is the oldest version that this package supports.
const leastVersion = "6.2"

// tooOld reports whether version is before leastVersion. A malformed version is not.
func tooOld(version string) bool { return versionBefore(version, 6, 2) }

func versionBefore(version string, major, minor int) bool {
	var has, and int
	if _, err := fmt.Sscanf(version, "%d.%d", &has, &and); err != nil {
		return false
	}
	return has < major || has == major && and < minor
}

// missing names the features that an outdated version lacks.
func missing(version string) string {
	switch {
	case versionBefore(version, 5, 0):
		return "scripts that read the time before they write (5.0), ACL users (6.0), ACL rules for channels (6.2)"
	case versionBefore(version, 6, 0):
		return "ACL users (6.0), ACL rules for channels (6.2)"
	}
	return "HELLO without arguments and ACL rules for channels (6.2)"
}

// unusable is the error for a server that could not be asked.
func (t redisTarget) unusable(err error) error {
	err = redislink.Redact(err)
	reason := "it does not speak Redis's protocol; check the port, and use rediss:// if the server uses TLS"
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
	case redislink.Said(err, "WRONGPASS"), redislink.Said(err, "NOAUTH"), redislink.Said(err, "ERR AUTH"):
		reason = "it refuses the user name or password"
	case redislink.Said(err, "NOPERM"):
		reason = "the user may not run hello; grant +hello"
		if named := redislink.NamedCommand(err); named != "" && named != "hello" {
			reason = "the user may not run " + named + ", which the client sends first; grant +" + named // as for another database
		}
	case errors.As(err, &record), errors.As(err, &unknownCA), errors.As(err, &hostname),
		errors.As(err, &alert) && alert.Op == "remote error":
		reason = "TLS fails"
	case errors.As(err, &dns):
		reason = "its name is unknown"
	case errors.As(err, &dial) && dial.Op == "dial":
		reason = "it cannot be reached"
		if t.sentinel != nil {
			reason = "no Sentinel can be reached, or the master that they name cannot"
		}
	case t.sentinel != nil && strings.Contains(err.Error(), "sentinel"):
		reason = "the Sentinels do not name a master of that name, or cannot be reached"
	case redislink.Answer(err) != "":
		reason = "it refuses"
	}
	return &ConnectError{Store: "Redis", Addr: t.addr, Reason: reason, Err: err}
}
