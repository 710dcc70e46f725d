/** The marker of all tokens of the fake: tests look for it in what a program writes. */
export const TOKEN_MARKER = "fa4e70ce";
