/** Runs the command line. */
import "../../../src/cli/cli.ts";
