package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/taskstore/taskstore/internal/testproc"
)

// TLS holds the address and the certificates with which a server speaks TLS on a second
// port, and with which its clients trust it.
type TLS struct {
	// Addr is the address for TLS. Its certificate is for the address, not for the name
	// localhost.
	Addr string
	// CAFile holds the authority's certificate in PEM, and CAs holds it in memory.
	CAFile string
	CAs    *x509.CertPool
	// Client is a certificate of the same authority for a client.
	Client tls.Certificate

	files map[string]string // by the option that names them
	port  int
}

// NewTLS makes an authority for this test and a certificate for one server. The test needs
// [WithTLS].
func NewTLS(tb testing.TB) *TLS {
	tb.Helper()
	Need(tb, WithTLS)
	t, err := newTLS(tb.TempDir())
	if err != nil {
		tb.Fatalf("redistest: TLS: %v", err)
	}
	return t
}

// Args returns arguments of redis-server, for [Start] and the like. Clients need no
// certificate, unless a later "--tls-auth-clients" says otherwise.
func (t *TLS) Args() []string {
	args := []string{"--tls-port", strconv.Itoa(t.port), "--tls-auth-clients", "no"}
	for option, file := range t.files {
		args = append(args, "--"+option, file)
	}
	return args
}

func newTLS(dir string) (*TLS, error) {
	port, err := testproc.FreePort()
	if err != nil {
		return nil, err
	}
	t := &TLS{
		Addr:   net.JoinHostPort(loopback, strconv.Itoa(port)),
		CAFile: filepath.Join(dir, "ca.pem"),
		CAs:    x509.NewCertPool(),
		port:   port,
		files: map[string]string{
			"tls-ca-cert-file": filepath.Join(dir, "ca.pem"),
			"tls-cert-file":    filepath.Join(dir, "server.pem"),
			"tls-key-file":     filepath.Join(dir, "server.key"),
		},
	}
	ca, err := certify(nil, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign})
	if err != nil {
		return nil, err
	}
	t.CAs.AddCert(ca.Leaf)
	// A node of a Cluster is also a client of the others.
	server, err := certify(ca, &x509.Certificate{
		IPAddresses: []net.IP{net.ParseIP(loopback)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, err
	}
	client, err := certify(ca, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, err
	}
	t.Client = *client
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return nil, err
	}
	for file, block := range map[string]pem.Block{
		t.CAFile:                 {Type: "CERTIFICATE", Bytes: ca.Leaf.Raw},
		t.files["tls-cert-file"]: {Type: "CERTIFICATE", Bytes: server.Leaf.Raw},
		t.files["tls-key-file"]:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(&block), 0o600); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// certify returns a certificate as in template, signed by ca or, if that is nil,
// by itself.
func certify(ca *tls.Certificate, template *x509.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "redistest " + template.SerialNumber.String()}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	template.BasicConstraintsValid = true
	parent, signer := template, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, nil
}
