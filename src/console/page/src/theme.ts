// Dark or light: as the system says, unless the reader does.

import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const NAME = "openclaw-edge-theme";
const THEMES: readonly Theme[] = ["system", "light", "dark"];

export function asTheme(text: string | null): Theme {
  return THEMES.find((one) => one === text) ?? "system";
}

export const theme = signal<Theme>(asTheme(localStorage.getItem(NAME)));

export function choose(name: Theme): void {
  theme.value = name;
  localStorage.setItem(NAME, name);
}
