package taskstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisTarget is a parsed URL: one of its options is set.
type redisTarget struct {
	addr     string // for messages
	single   *redis.Options
	cluster  *redis.ClusterOptions
	sentinel *redis.FailoverOptions

	url    url.URL    // without path and parameters
	params url.Values // of the client
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

// asCluster returns the target of a URL for one server that turns out to be a node of a
// Cluster.
func (t redisTarget) asCluster() (redisTarget, error) {
	refuse := func(reason string) (redisTarget, error) {
		return redisTarget{}, &ConnectError{Store: "Redis", Addr: t.addr, Reason: reason}
	}
	if t.single.DB != 0 {
		return refuse("it is a node of a Cluster, in which only database 0 can be used; leave out the database")
	}
	if t.url.Scheme == "unix" {
		return refuse("it is a node of a Cluster, whose nodes are reached over TCP; name its host and port")
	}
	o, err := redis.ParseClusterURL(t.url.String())
	if err == nil {
		err = setParameters(reflect.ValueOf(o).Elem(), o.TLSConfig, t.params)
	}
	if err != nil {
		return redisTarget{}, err
	}
	o.ContextTimeoutEnabled = true
	return redisTarget{addr: t.addr, cluster: o}, nil
}

// parseRedisURL reports a faulty URL without repeating any part that could be of a
// password: the errors of net/url print the whole URL, and those of go-redis names and
// values of parameters, which may be the rest of a password behind an ampersand that was
// not percent-encoded.
func parseRedisURL(rawURL string) (redisTarget, error) {
	bad := func(reason string) (redisTarget, error) { return redisTarget{}, badURL(reason) }
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
	socket := u.Scheme == "unix" && u.Host == "" // its path may have any character
	if strings.Contains(u.Path+u.RawQuery, "@") && !socket || u.Fragment != "" {
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
	if err := knownParameters(u.RawQuery); err != nil {
		return redisTarget{}, err
	}
	return newTarget(u, query)
}

func badURL(reason string) error { return &ArgumentError{Argument: "Redis URL", Reason: reason} }

// newTarget chooses the kind of client, and lets go-redis parse all but the parameters:
// its three parsers know different ones.
func newTarget(u *url.URL, query url.Values) (t redisTarget, err error) {
	t = redisTarget{addr: u.Host, url: *u, params: query}
	t.url.RawQuery = ""
	if u.Scheme == "unix" {
		t.addr = u.Path
	} else if len(strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })) > 1 {
		return redisTarget{}, badURL("its path should be the number of a database")
	}
	var options reflect.Value
	var secure *tls.Config
	switch {
	case query.Has("master_name"):
		if query.Get("master_name") == "" {
			return redisTarget{}, badURL("master_name is empty; it should be the name that the Sentinels know the master by")
		}
		if t.sentinel, err = redis.ParseFailoverURL(t.url.String()); err == nil {
			options, secure = reflect.ValueOf(t.sentinel).Elem(), t.sentinel.TLSConfig
			t.sentinel.SentinelAddrs, err = moreAddresses(t.sentinel.SentinelAddrs, query["addr"])
		}
	case query.Has("addr"):
		other := func(db string) bool { return strings.Trim(db, "0") != "" }
		if strings.Trim(u.Path, "/0") != "" || slices.ContainsFunc(query["db"], other) {
			return redisTarget{}, badURL("a Cluster has only database 0")
		}
		t.url.Path = ""
		if t.cluster, err = redis.ParseClusterURL(t.url.String()); err == nil {
			options, secure = reflect.ValueOf(t.cluster).Elem(), t.cluster.TLSConfig
			t.cluster.Addrs, err = moreAddresses(t.cluster.Addrs, query["addr"])
		}
	default:
		if t.single, err = redis.ParseURL(t.url.String()); err == nil {
			options, secure = reflect.ValueOf(t.single).Elem(), t.single.TLSConfig
		}
	}
	if err != nil {
		return redisTarget{}, badBase(err)
	}
	t.url.Path = ""
	if err := setParameters(options, secure, query); err != nil {
		return redisTarget{}, err
	}
	if database := options.FieldByName("DB"); database.IsValid() && database.Int() < 0 {
		return redisTarget{}, badURL("the number of its database is negative") // go-redis would take 0
	}
	// A call then ends with its ctx, before the client's own timeouts.
	options.FieldByName("ContextTimeoutEnabled").SetBool(true)
	return t, nil
}

// badBase explains go-redis's error for a URL without parameters.
func badBase(err error) error {
	reason := "it cannot be used; it should look like redis://host:6379/0"
	switch {
	case strings.Contains(err.Error(), "invalid database"), strings.Contains(err.Error(), "invalid URL path"):
		reason = "its path should be the number of a database"
	case strings.Contains(err.Error(), "socket"):
		reason = "it names no socket; it should look like unix:///path/to/socket"
	case strings.Contains(err.Error(), "scheme"):
		reason = "a Cluster and Sentinels are reached by redis:// and rediss:// only"
	case errors.Is(err, errAddress):
		reason = "an addr among its parameters is not of the form host:port"
	}
	return badURL(reason)
}

var errAddress = errors.New("not of the form host:port")

func moreAddresses(addrs, more []string) ([]string, error) {
	for _, addr := range more {
		host, port, err := net.SplitHostPort(addr)
		if err != nil || host == "" || port == "" {
			return nil, errAddress
		}
		addrs = append(addrs, net.JoinHostPort(host, port))
	}
	return addrs, nil
}

// urlParameters are the parameters that go-redis knows, of any kind of URL, and the
// fields that they set in the options of clients that have these fields.
var urlParameters = map[string]string{
	"client_name":                "ClientName",
	"conn_max_idle_time":         "ConnMaxIdleTime",
	"conn_max_lifetime":          "ConnMaxLifetime",
	"conn_max_lifetime_jitter":   "ConnMaxLifetimeJitter",
	"context_timeout_enabled":    "ContextTimeoutEnabled",
	"db":                         "DB",
	"dial_timeout":               "DialTimeout",
	"dialer_retries":             "DialerRetries",
	"dialer_retry_timeout":       "DialerRetryTimeout",
	"disableIdentity":            "DisableIdentity",
	"failing_timeout_seconds":    "FailingTimeoutSeconds",
	"identitySuffix":             "IdentitySuffix",
	"idle_timeout":               "ConnMaxIdleTime",
	"master_name":                "MasterName",
	"max_active_conns":           "MaxActiveConns",
	"max_concurrent_dials":       "MaxConcurrentDials",
	"max_conn_age":               "ConnMaxLifetime",
	"max_idle_conns":             "MaxIdleConns",
	"max_redirects":              "MaxRedirects",
	"max_retries":                "MaxRetries",
	"max_retry_backoff":          "MaxRetryBackoff",
	"min_idle_conns":             "MinIdleConns",
	"min_retry_backoff":          "MinRetryBackoff",
	"pipeline_pool_size":         "PipelinePoolSize",
	"pipeline_read_buffer_size":  "PipelineReadBufferSize",
	"pipeline_write_buffer_size": "PipelineWriteBufferSize",
	"pool_fifo":                  "PoolFIFO",
	"pool_size":                  "PoolSize",
	"pool_timeout":               "PoolTimeout",
	"protocol":                   "Protocol",
	"read_timeout":               "ReadTimeout",
	"route_by_latency_tolerance": "RouteByLatencyTolerance",
	"unstable_resp3":             "UnstableResp3",
	"write_timeout":              "WriteTimeout",

	// Of Sentinels only: elsewhere user and password are in front of the host.
	"password": "Password",
	"username": "Username",

	// These set no field of this name.
	"addr":        "",
	"skip_verify": "",
}

// ofSentinel are the parameters that only the URL of Sentinels may have.
var ofSentinel = []string{"username", "password"}

// knownParameters finds a parameter that go-redis does not know. It reports the position
// and not the name, which may be the end of a password.
func knownParameters(rawQuery string) error {
	for i, pair := range strings.Split(rawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if _, known := urlParameters[name]; pair != "" && (err != nil || !known) {
			names := slices.Sorted(maps.Keys(urlParameters))
			return badURL(fmt.Sprintf("parameter number %d is not known; an ampersand in a name or password must be percent-encoded as %%26; known are %s", i+1, strings.Join(names, ", ")))
		}
	}
	return nil
}

// setParameters sets the fields of a client's options that the parameters of its URL
// name, as go-redis would.
func setParameters(options reflect.Value, secure *tls.Config, query url.Values) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		value := query[name][len(query[name])-1]
		if name == "skip_verify" {
			if secure == nil {
				return badURL("the parameter skip_verify is for rediss:// only")
			}
			if err := setParameter(reflect.ValueOf(&secure.InsecureSkipVerify).Elem(), name, value); err != nil {
				return err
			}
		}
		_, sentinel := options.Interface().(redis.FailoverOptions)
		field := options.FieldByName(urlParameters[name])
		switch {
		case !sentinel && slices.Contains(ofSentinel, name):
			return badURL("the parameter " + name + " is for Sentinels only; user name and password of other servers are in front of the host")
		case name == "idle_timeout" && query.Has("conn_max_idle_time"), name == "max_conn_age" && query.Has("conn_max_lifetime"):
			continue // older names
		case urlParameters[name] == "":
			continue
		case !field.IsValid() && sentinel:
			return badURL("the parameter " + name + " is for a Cluster only")
		case !field.IsValid():
			// The one server may be a node of a Cluster, which is not known yet.
			if field = reflect.ValueOf(new(redis.ClusterOptions)).Elem().FieldByName(urlParameters[name]); !field.IsValid() {
				continue
			}
		}
		if err := setParameter(field, name, value); err != nil {
			return err
		}
	}
	jitter, lifetime := options.FieldByName("ConnMaxLifetimeJitter"), options.FieldByName("ConnMaxLifetime")
	jitter.SetInt(min(jitter.Int(), lifetime.Int()))
	return nil
}

// setParameter sets one field. An empty value leaves the field as it is.
func setParameter(field reflect.Value, name, value string) error {
	if value == "" {
		return nil
	}
	bad := func(want string) error { return badURL("the parameter " + name + " should be " + want) }
	switch field.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(value)
		if seconds, isNumber := strconv.Atoi(value); isNumber == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		switch {
		case err != nil:
			return bad("a duration, such as 500ms, or a number of seconds")
		case d <= 0:
			field.SetInt(-1) // go-redis's value for no timeout
		default:
			field.SetInt(int64(d))
		}
	case int:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return bad("a whole number")
		}
		field.SetInt(n)
	case bool:
		on := value == "true" || value == "1"
		if !on && value != "false" && value != "0" {
			return bad("true or false")
		}
		field.SetBool(on)
	default:
		field.SetString(value)
	}
	return nil
}
