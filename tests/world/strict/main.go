// Reads Dendrite's configuration as Dendrite does, but refuses keys that its types do not have.
// Dendrite itself passes over them in silence (setup/config/config.go, yaml.Unmarshal).
package main

import (
	"fmt"
	"os"

	"github.com/element-hq/dendrite/setup/config"
	"gopkg.in/yaml.v2"
)

func main() {
	wrong := false
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err == nil {
			var into config.Dendrite
			err = yaml.UnmarshalStrict(text, &into)
		}
		if err != nil {
			fmt.Printf("%s: %v\n", file, err)
			wrong = true
		}
	}
	if wrong {
		os.Exit(1)
	}
}
