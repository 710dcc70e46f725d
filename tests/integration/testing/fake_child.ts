/** A child process: calls the fake Bitrix24 at the URL in its argument, and prints the answers. */
import process from "node:process";
import { forwardingFetch } from "@b24/onappupdate/testing";

const [url, endpoint, token] = process.argv.slice(2);
const fetch = forwardingFetch(url!);
const body = new URLSearchParams({ auth: token!, "fields[TITLE]": "from a child" });
const answer = await fetch(`${endpoint}crm.deal.add`, { method: "POST", body });
process.stdout.write(JSON.stringify(await answer.json()));
