package taskstore

import (
	"crypto/tls"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fieldNames returns how a URL may call a field.
func fieldNames(field string) []string {
	var snake strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(field[i-1])) {
			snake.WriteByte('_')
		}
		snake.WriteRune(unicode.ToLower(r))
	}
	return []string{snake.String(), strings.ToLower(field[:1]) + field[1:]}
}

// goRedisKnows reports whether one of go-redis's parsers knows the parameter.
func goRedisKnows(name string) bool {
	knows := func(err error) bool { return err == nil || !strings.Contains(err.Error(), "unexpected option") }
	for _, query := range []string{"?" + name + "=1", "?" + name + "=1&addr=h:1"} {
		_, single := redis.ParseURL("rediss://h" + query)
		_, cluster := redis.ParseClusterURL("rediss://h" + query)
		_, sentinel := redis.ParseFailoverURL("rediss://h" + query)
		if knows(single) || knows(cluster) || knows(sentinel) {
			return true
		}
	}
	return false
}

// OpenRedis knows every parameter of a URL that go-redis knows, on any topology. A version of
// go-redis that knows more fails here.
func TestEveryParameterOfGoRedisIsKnown(t *testing.T) {
	readsFromReplicas := []string{"read_only", "replica_only", "route_by_latency", "route_randomly", "use_disconnected_replicas"}
	known := 0
	for _, options := range []reflect.Type{reflect.TypeFor[redis.Options](), reflect.TypeFor[redis.ClusterOptions](), reflect.TypeFor[redis.FailoverOptions]()} {
		for i := range options.NumField() {
			for _, name := range fieldNames(options.Field(i).Name) {
				if !goRedisKnows(name) {
					continue
				}
				known++
				_, ours := urlParameters[name]
				if !ours {
					assert.Contains(t, readsFromReplicas, name)
				}
			}
		}
	}
	assert.Greater(t, known, 60, "the fields were found")
	for name := range urlParameters {
		assert.True(t, goRedisKnows(name), name)
	}
}

// parameterOf returns a value for a parameter, and the value that the field then has.
func parameterOf(field reflect.Value) (value string, want any) {
	switch field.Interface().(type) {
	case time.Duration:
		return "7s", 7 * time.Second
	case int:
		return "-1", -1
	case bool:
		return "true", true
	}
	return "text", "text"
}

// Every parameter arrives at the client, on every topology, with its meaning in go-redis.
func TestEveryParameterArrives(t *testing.T) {
	for name, field := range urlParameters {
		t.Run(name, func(t *testing.T) {
			arrived := 0
			for topology, c := range map[string]struct {
				base    string
				options func(redisTarget) any
				goRedis func(rawURL string) (any, error)
			}{
				"Server":            {"redis://u:p@h:1", func(r redisTarget) any { return r.single }, func(u string) (any, error) { return redis.ParseURL(u) }},
				"Cluster":           {"redis://u:p@h:1?addr=h2:2", func(r redisTarget) any { return r.cluster }, func(u string) (any, error) { return redis.ParseClusterURL(u) }},
				"Sentinel":          {"redis://u:p@h:1?master_name=text&addr=h2:2", func(r redisTarget) any { return r.sentinel }, func(u string) (any, error) { return redis.ParseFailoverURL(u) }},
				"ClusterFoundByOne": {"redis://u:p@h:1", func(r redisTarget) any { return r.cluster }, func(u string) (any, error) { return redis.ParseClusterURL(u) }},
			} {
				empty, err := parseRedisURL(c.base)
				require.NoError(t, err)
				if topology == "ClusterFoundByOne" {
					empty, err = empty.asCluster()
					require.NoError(t, err)
				}
				to := reflect.ValueOf(c.options(empty)).Elem().FieldByName(field)
				if !to.IsValid() || name == "master_name" || topology != "Sentinel" && (name == "username" || name == "password") {
					continue
				}
				value, want := parameterOf(to)
				if name == "db" { // a database is 0 or more
					value, want = "3", 3
				}
				u, err := url.Parse(c.base)
				require.NoError(t, err)
				query := u.Query()
				query.Set(name, value)
				if name == "conn_max_lifetime_jitter" {
					query.Set("conn_max_lifetime", "8s") // which it is bounded by
				}
				u.RawQuery = query.Encode()
				target, err := parseRedisURL(u.String())
				require.NoError(t, err, topology)
				if topology == "ClusterFoundByOne" {
					target, err = target.asCluster()
					require.NoError(t, err)
				}
				options := reflect.ValueOf(c.options(target)).Elem()
				assert.Equal(t, want, options.FieldByName(field).Interface(), topology)
				arrived++
				if theirs, err := c.goRedis(u.String()); err == nil {
					reflect.ValueOf(theirs).Elem().FieldByName("ContextTimeoutEnabled").SetBool(true)
					assert.Equal(t, theirs, c.options(target), topology)
				}
			}
			if field != "" && name != "master_name" {
				assert.Positive(t, arrived)
			}
		})
	}
}

// skip_verify sets a field of a field.
func TestSkipVerifyArrives(t *testing.T) {
	for _, rawURL := range []string{"rediss://h", "rediss://h?addr=h2:2", "rediss://h?master_name=m"} {
		separator := "?"
		if strings.Contains(rawURL, "?") {
			separator = "&"
		}
		target, err := parseRedisURL(rawURL + separator + "skip_verify=true")
		require.NoError(t, err)
		switch {
		case target.single != nil:
			assert.True(t, target.single.TLSConfig.InsecureSkipVerify)
			target, err = target.asCluster()
			require.NoError(t, err)
			assert.True(t, target.cluster.TLSConfig.InsecureSkipVerify)
		case target.cluster != nil:
			assert.True(t, target.cluster.TLSConfig.InsecureSkipVerify)
		default:
			assert.True(t, target.sentinel.TLSConfig.InsecureSkipVerify)
		}
	}
	_, err := parseRedisURL("redis://h?skip_verify=true")
	assert.ErrorIs(t, err, ErrInvalidArgument)
}

// An error repeats of a URL only the names of known parameters: a password goes on behind an
// ampersand that should have been escaped.
func TestErrorsOfURLsRepeatOnlyKnownParameters(t *testing.T) {
	var bad []string
	for _, topology := range []string{"redis://h:1?", "redis://h:1?addr=h2:2&", "redis://h:1?master_name=m&username=u&password=abc&", "rediss://h:1?", "unix:///socket?"} {
		for name, field := range urlParameters {
			if name == "master_name" || name == "username" || name == "password" || name == "client_name" || name == "identitySuffix" {
				continue
			}
			bad = append(bad, topology+name+"=s3cr3t", topology+name+"=&s3cr3t="+field)
		}
		bad = append(bad, topology+"s3cr3t", topology+"s3cr3t=1", topology+"pool_size=1&s3cr3t&", topology+"=s3cr3t", topology+"&&s3cr3t",
			topology+"addr=s3cr3t:", topology+"addr=:s3cr3t", topology+"pool_size=99999999999&s3cr3t", topology+"db=s3cr3t")
	}
	bad = append(bad, "unix://:12/s3cr3t@/socket", "unix://u:12/s3cr3t@/socket?db=1", "redis://h/s3cr3t", "redis://h/1/s3cr3t", "redis://h/s3cr3t?addr=h2:1", "redis://h/s3cr3t?master_name=m",
		"unix://s3cr3t:s3cr3t@/?master_name=m", "unix://s3cr3t?addr=h:1", "redis://h?username=s3cr3t", "redis://h?password=s3cr3t&addr=h2:1", "unix://?s3cr3t")
	for _, rawURL := range bad {
		_, err := parseRedisURL(rawURL)
		if assert.Error(t, err, rawURL) {
			assert.ErrorIs(t, err, ErrInvalidArgument)
			assert.NotContains(t, err.Error(), "s3cr3t", rawURL)
			assert.NotContains(t, err.Error(), "abc")
		}
	}
}

// A Cluster has one database. Another one is refused, and not silently replaced.
func TestADatabaseOfAClusterIsRefused(t *testing.T) {
	for _, rawURL := range []string{"redis://h/3", "redis://h?db=3", "redis://h/?db=3"} {
		target, err := parseRedisURL(rawURL)
		require.NoError(t, err)
		_, err = target.asCluster()
		var refused *ConnectError
		require.ErrorAs(t, err, &refused)
		assert.Contains(t, refused.Reason, "database 0")
	}
	for _, rawURL := range []string{"redis://h/3?addr=h:1", "redis://h?db=3&addr=h:1", "redis://h?db=0&addr=h:1&db=3"} {
		_, err := parseRedisURL(rawURL)
		assert.ErrorIs(t, err, ErrInvalidArgument)
		assert.ErrorContains(t, err, "database 0")
	}
	for _, rawURL := range []string{"redis://h", "redis://h/", "redis://h/0", "redis://h?db=0"} {
		target, err := parseRedisURL(rawURL)
		require.NoError(t, err)
		_, err = target.asCluster()
		assert.NoError(t, err)
	}
}

// A parameter without a value leaves the settings of the rest of the URL, as with go-redis.
func TestAParameterWithoutAValueIsIgnored(t *testing.T) {
	for name, field := range urlParameters {
		if name == "master_name" || name == "addr" || slices.Contains(ofSentinel, name) {
			continue
		}
		for _, base := range []string{"redis://u:p@h/3?", "rediss://u:p@h/3?", "redis://u:p@h/3?master_name=m&", "redis://u:p@h?addr=h2:2&", "unix:///socket?"} {
			without, err := parseRedisURL(base)
			require.NoError(t, err)
			with, err := parseRedisURL(base + name + "=")
			if name == "skip_verify" && without.secure() == nil {
				continue
			}
			if without.sentinel != nil && !reflect.ValueOf(without.sentinel).Elem().FieldByName(field).IsValid() && field != "" {
				continue // refused there
			}
			require.NoError(t, err, base+name)
			without.url, with.url, without.params, with.params = url.URL{}, url.URL{}, nil, nil
			assert.Equal(t, without, with, base+name)
		}
	}
}

// secure returns the settings for TLS of the target.
func (t redisTarget) secure() *tls.Config {
	switch {
	case t.single != nil:
		return t.single.TLSConfig
	case t.cluster != nil:
		return t.cluster.TLSConfig
	}
	return t.sentinel.TLSConfig
}

// To go-redis a negative database is database 0.
func TestANegativeDatabaseIsRefused(t *testing.T) {
	for _, rawURL := range []string{"redis://h/-1", "redis://h?db=-1", "redis://h/3?db=-1", "unix:///socket?db=-1", "redis://h/-1?master_name=m", "redis://h?master_name=m&db=-1"} {
		_, err := parseRedisURL(rawURL)
		assert.ErrorIs(t, err, ErrInvalidArgument, rawURL)
		assert.ErrorContains(t, err, "database", rawURL)
	}
}
