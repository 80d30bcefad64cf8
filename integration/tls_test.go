//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// tlsServers start the servers that are reached over TLS: the arguments are those of TLS.
var tlsServers = map[string]func(t *testing.T, args ...string){
	"OneServer": func(t *testing.T, args ...string) { redistest.Start(t, args...) },
	"Cluster": func(t *testing.T, args ...string) {
		redistest.StartClusterOfOne(t, append(args, "--tls-cluster", "yes", "--tls-replication", "yes")...)
	},
}

// works runs every verb, a watch and Check.
func works(t *testing.T, b *taskstore.RedisBackend) {
	t.Helper()
	require.True(t, everyVerb(t, b, key, taskstore.Key{Owner: key.Owner, Task: key.Task + "tte"}))
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := b.Check(ctx)
	require.NoError(t, err)
	for c, err := range b.Watch(ctx, taskstore.Key{Owner: key.Owner}) {
		require.NoError(t, err)
		if !c.Resync {
			return
		}
		_, err := b.Put(ctx, key, hello)
		require.NoError(t, err)
	}
}

// A rediss URL is checked with the authorities that the system trusts. Go reads those once in
// the life of a process, so the test runs a process of its own; SSL_CERT_FILE names its
// authorities.
func TestRedissURLTrustsTheSystemsAuthorities(t *testing.T) {
	const tlsURL = "TASKSTORE_TEST_REDISS_URL"
	if url := os.Getenv(tlsURL); url != "" {
		b, err := taskstore.OpenRedis(ctx, url, nil)
		require.NoError(t, err)
		defer b.Close()
		works(t, b)
		return
	}
	t.Parallel()
	for name, start := range tlsServers {
		t.Run(name, func(t *testing.T) {
			secure := redistest.NewTLS(t)
			start(t, append(secure.Args(), "--requirepass", "s3cr3t")...)
			child := exec.Command(os.Args[0], "-test.run=^TestRedissURLTrustsTheSystemsAuthorities$", "-test.timeout=1m")
			child.Env = append(os.Environ(), tlsURL+"=rediss://:s3cr3t@"+secure.Addr, "SSL_CERT_FILE="+secure.CAFile)
			out, err := child.CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

// A caller that trusts an authority of its own, or has a certificate to show, lends a client.
func TestRedisClientWithTLS(t *testing.T) {
	t.Parallel()
	for name, start := range tlsServers {
		t.Run(name, func(t *testing.T) {
			secure := redistest.NewTLS(t)
			start(t, append(secure.Args(), "--tls-auth-clients", "yes")...)
			client := redis.NewUniversalClient(&redis.UniversalOptions{
				Addrs:         []string{secure.Addr},
				IsClusterMode: name == "Cluster",
				TLSConfig:     &tls.Config{RootCAs: secure.CAs, Certificates: []tls.Certificate{secure.Client}},
			})
			defer client.Close()
			b, err := taskstore.NewRedisBackend(client, nil)
			require.NoError(t, err)
			defer b.Close()
			works(t, b)
		})
	}
}

// The error names the fault that keeps TLS from working.
func TestOpenRedisNamesTheFaultOfTLS(t *testing.T) {
	secure, strict := redistest.NewTLS(t), redistest.NewTLS(t)
	server := redistest.Start(t, secure.Args()...)
	redistest.Start(t, append(strict.Args(), "--tls-auth-clients", "yes")...)
	_, port, _ := strings.Cut(secure.Addr, ":")
	for name, c := range map[string]struct{ url, says string }{
		"UnknownAuthority":    {"rediss://:s3cr3t@" + secure.Addr, "TLS fails: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"WrongName":           {"rediss://:s3cr3t@localhost:" + port, "TLS fails: tls: failed to verify certificate: x509: certificate is not valid for"},
		"NoClientCertificate": {"rediss://:s3cr3t@" + strict.Addr + "?skip_verify=true", "tls: certificate required"},
		"PlainClient":         {"redis://:s3cr3t@" + secure.Addr, "use rediss:// if the server uses TLS"},
		"PlainClusterClient":  {"redis://:s3cr3t@" + secure.Addr + "?addr=" + secure.Addr, "use rediss:// if the server uses TLS"},
		"PlainServer":         {"rediss://:s3cr3t@" + server.Addr(), "is it a TLS port?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, err := taskstore.OpenRedis(ctx, c.url, nil)
			var connect *taskstore.ConnectError
			require.ErrorAs(t, err, &connect)
			assert.ErrorContains(t, err, c.says)
			assert.NotContains(t, everyPrint(err), "s3cr3t")
			if strings.Contains(c.says, "verify") {
				assert.ErrorAs(t, err, new(*tls.CertificateVerificationError))
			}
		})
	}
}
