package taskstore

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// urlParameters are the parameters that go-redis knows, of any kind of URL, and the
// fields that they set in the options of those clients that have them.
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

// knownParameters finds a parameter that go-redis does not know. It tells its place
// and not its name, which may be the end of a password.
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

// setParameter sets one field. An empty value leaves what it has.
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
			field.SetInt(-1) // go-redis's word for none
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
