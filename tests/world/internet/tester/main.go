// The outside of the box: answers as the Matrix project's public federation tester does, with the
// same JSON (github.com/matrix-org/matrix-federation-tester, ServerReport), over HTTPS.
//
// The real program cannot be had from the module proxy. What makes its judgements can: this uses
// the same library, gomatrixserverlib, for the well-known, the version and the checks of keys, so
// that it shares no line and no misunderstanding with the code of the appliance that asks it.
//
//	tester ADDRESS CERTIFICATE KEY
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/fclient"
	"github.com/matrix-org/gomatrixserverlib/spec"
)

const connectionTimeout = 10 * time.Second

type message struct{ Message string }

type wellKnownReport struct {
	Server         spec.ServerName `json:"m.server"`
	Result         string          `json:"result,omitempty"`
	CacheExpiresAt int64
}

type versionReport struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

type dnsReport struct {
	SRVSkipped bool
	SRVRecords []*net.SRV
	Addrs      []string
}

type checks struct {
	gomatrixserverlib.KeyChecks
	ValidCertificates bool
}

type connectionReport struct {
	Checks checks
	Errors []message
	Keys   json.RawMessage
}

type report struct {
	Error             string `json:",omitempty"`
	WellKnownResult   wellKnownReport
	DNSResult         dnsReport
	ConnectionReports map[string]connectionReport
	ConnectionErrors  map[string]message
	Version           versionReport
	FederationOK      bool
}

func examine(ctx context.Context, name spec.ServerName) (*report, error) {
	found := &report{
		ConnectionReports: map[string]connectionReport{},
		ConnectionErrors:  map[string]message{},
		FederationOK:      true,
	}
	if _, _, valid := spec.ParseAndValidateServerName(name); !valid {
		found.Error, found.FederationOK = fmt.Sprintf("Invalid server name '%s'", name), false
		return found, nil
	}
	target := name
	if known, err := fclient.LookupWellKnown(ctx, name); err == nil {
		target = known.NewAddress
		found.WellKnownResult = wellKnownReport{Server: target, CacheExpiresAt: known.CacheExpiresAt}
	} else {
		found.WellKnownResult.Result = err.Error()
	}
	host, _, valid := spec.ParseAndValidateServerName(target)
	if !valid {
		found.Error, found.FederationOK = "Invalid server name in .well-known result", false
		return found, nil
	}
	client := fclient.NewClient(fclient.WithWellKnownSRVLookups(true))
	if version, err := client.GetVersion(ctx, name); err == nil {
		found.Version = versionReport{Name: version.Server.Name, Version: version.Server.Version}
	} else {
		found.Version.Error, found.FederationOK = err.Error(), false
	}
	if err := lookUp(ctx, target, &found.DNSResult); err != nil {
		return nil, err
	}
	found.FederationOK = found.FederationOK && len(found.DNSResult.Addrs) > 0
	for _, address := range found.DNSResult.Addrs {
		seen, err := connect(ctx, address, host, name, target)
		if err != nil {
			found.ConnectionErrors[address], found.FederationOK = message{err.Error()}, false
			continue
		}
		found.ConnectionReports[address] = *seen
		found.FederationOK = found.FederationOK && seen.Checks.AllChecksOK
	}
	return found, nil
}

// lookUp finds the addresses of a server name after delegation; a port of its own means no SRV.
func lookUp(ctx context.Context, target spec.ServerName, found *dnsReport) error {
	host, port, err := net.SplitHostPort(string(target))
	targets := map[string]string{host: port}
	if err != nil {
		host = strings.Trim(string(target), "[]")
		targets = map[string]string{host: "8448"}
		_, records, failure := net.DefaultResolver.LookupSRV(ctx, "matrix", "tcp", host)
		var dnsError *net.DNSError
		if errors.As(failure, &dnsError) && dnsError.Timeout() {
			return failure
		}
		if failure == nil && len(records) > 0 {
			found.SRVRecords, targets = records, map[string]string{}
			for _, record := range records {
				targets[record.Target] = fmt.Sprint(record.Port)
			}
		}
	} else {
		found.SRVSkipped = true
	}
	for host, port := range targets {
		addresses, failure := net.DefaultResolver.LookupHost(ctx, host)
		if failure != nil {
			continue
		}
		for _, address := range addresses {
			found.Addrs = append(found.Addrs, net.JoinHostPort(address, port))
		}
	}
	return nil
}

// connect fetches the keys from one address whatever its certificate, and then judges both.
func connect(
	ctx context.Context, address, host string, name, target spec.ServerName,
) (*connectionReport, error) {
	unverified := &tls.Config{ServerName: host, InsecureSkipVerify: true}
	client := http.Client{
		Timeout:   connectionTimeout,
		Transport: &http.Transport{TLSClientConfig: unverified, DisableKeepAlives: true},
	}
	url := "https://" + address + "/_matrix/key/v2/server"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Host = string(target)
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("Non-200 response %d from remote server", answer.StatusCode)
	}
	var keys gomatrixserverlib.ServerKeys
	if err := json.NewDecoder(answer.Body).Decode(&keys); err != nil {
		return nil, fmt.Errorf("Unable to decode JSON from remote server: %w", err)
	}
	seen := &connectionReport{Errors: []message{}, Keys: keys.Raw}
	seen.Checks.KeyChecks, _ = gomatrixserverlib.CheckKeys(name, time.Now(), keys)
	chain := x509.NewCertPool()
	for _, certificate := range answer.TLS.PeerCertificates[1:] {
		chain.AddCert(certificate)
	}
	options := x509.VerifyOptions{DNSName: host, Intermediates: chain}
	if _, err := answer.TLS.PeerCertificates[0].Verify(options); err != nil {
		seen.Errors = append(seen.Errors, message{err.Error()})
	} else {
		seen.Checks.ValidCertificates = true
	}
	seen.Checks.AllChecksOK = seen.Checks.AllChecksOK && seen.Checks.ValidCertificates
	return seen, nil
}

func handle(writer http.ResponseWriter, request *http.Request) {
	name := spec.ServerName(request.URL.Query().Get("server_name"))
	log.Printf("asked about %q", name)
	if request.Method != http.MethodGet {
		http.Error(writer, "Unsupported method", http.StatusMethodNotAllowed)
		return
	}
	if name == "" {
		http.Error(writer, "Missing server_name parameter", http.StatusBadRequest)
		return
	}
	found, err := examine(request.Context(), name)
	if err != nil {
		http.Error(writer, "Error generating report: "+err.Error(), http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Access-Control-Allow-Origin", "*")
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(found); err != nil {
		log.Print(err)
	}
}

func main() {
	http.HandleFunc("/api/report", handle)
	log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], nil))
}
