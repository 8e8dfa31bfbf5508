// What a bundler would write: each page has a path, all of them one HTML file.
const pages = {
	"/": { name: "Start", text: "Each page has an address of its own. Load one anew: the server answers with the same file, whatever the address." },
	"/time": { name: "Time", text: "This is what the server says beside the page:", ask: "/api/time" },
	"/about": { name: "About", text: "The style sheet and the script have a hash in their names, and are kept for a year." },
};

async function show() {
	const page = pages[location.pathname] || { name: "Not here", text: "There is no such page." };
	document.title = "Aerys: " + page.name;
	document.querySelector("nav").replaceChildren(...Object.entries(pages).map(([path, { name }]) => {
		const link = document.createElement("a");
		link.href = path;
		link.textContent = name;
		if (path === location.pathname) link.setAttribute("aria-current", "page");
		return link;
	}));
	const main = document.querySelector("main");
	main.replaceChildren(element("h1", page.name), element("p", page.text));
	if (page.ask) main.append(element("p", (await (await fetch(page.ask)).json()).time));
}

function element(tag, text) {
	const e = document.createElement(tag);
	e.textContent = text;
	return e;
}

document.querySelector("nav").onclick = event => {
	if (!event.target.href || event.ctrlKey || event.metaKey) return;
	event.preventDefault();
	history.pushState(null, "", event.target.href);
	show();
};
window.onpopstate = show;
show();
