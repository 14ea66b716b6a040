// The conformance tests of http-wasm against a gateway that runs their guest before their backend.
package tck

import (
	"net/http"
	"os"
	"testing"

	"github.com/http-wasm/http-wasm-host-go/tck"
)

// TestGuest writes the guest to the file that GUEST names.
func TestGuest(t *testing.T) {
	if err := os.WriteFile(os.Getenv("GUEST"), tck.GuestWASM, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestTCK runs the backend at BACKEND and the tests against URL.
func TestTCK(t *testing.T) {
	backend := tck.StartBackend(os.Getenv("BACKEND"))
	t.Cleanup(backend.Close)
	tck.Run(t, http.DefaultClient, os.Getenv("URL"))
}
