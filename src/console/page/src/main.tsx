// The page's beginning: who is there, and what is shown to them.

import "./style.css";
import { render } from "preact";
import { look, may, session } from "./api";
import { follow, leave } from "./live";
import * as mux from "./mux";
import { Shell } from "./shell";
import { SignIn } from "./sign-in";
import { theme } from "./theme";

theme.subscribe((name) => {
  if (name === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = name;
});

let followed: string | null = null;
session.subscribe((now) => {
  const who = now ? `${now.tenant} ${now.credential ?? ""} ${now.node ?? ""}` : null;
  if (now === undefined || who === followed) return;
  followed = who;
  if (now === null) {
    leave();
    mux.close();
    return;
  }
  follow();
  // Without the scope the edge would refuse the socket each time.
  if (may("gateways:connect") && may("operator.approvals")) mux.open();
  else mux.close();
});

function Page() {
  if (session.value === undefined) return <main class="hello" aria-busy="true" aria-label="OpenClaw Edge" />;
  return session.value ? <Shell /> : <SignIn />;
}

const place = document.getElementById("page");
if (place) render(<Page />, place);
void look();
